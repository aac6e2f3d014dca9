//! Signing keys, and tokens that nobody signed.

use adit_testkit::TestGateway;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{part, service, status};

#[tokio::test]
async fn a_forged_token_opens_nothing_and_breaks_nothing() {
    // BRW-07, BRW-08, BRW-11, BRW-12
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let good = ci.token().await;
    assert_eq!(status(&gateway, &good).await, 200);
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = good.rsplit('.').next().unwrap();
    let mut forged =
        vec![format!("{good}x"), format!("{good}."), "eyJ".to_owned(), "eyJ..".to_owned()];
    for alg in ["none", "None", "nOnE", "HS256", "RS256", "ES384", "ES256"] {
        let mut header = header.clone();
        header["alg"] = json!(alg);
        if alg == "ES256" {
            header["kid"] = json!("00000000-0000-4000-8000-000000000000");
        }
        forged.push(format!("{}.{}.", encode(&header), encode(&claims)));
        forged.push(format!("{}.{}.{signature}", encode(&header), encode(&claims)));
    }
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", json!(1e308)),
        ("exp", json!(-1)),
        ("aud", json!("other")),
        ("scope", json!("access:manage")),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        forged.push(format!("{}.{}.{signature}", encode(&header), encode(&claims)));
    }
    for token in &forged {
        assert_eq!(status(&gateway, token).await, 401, "{token}");
    }
    let health = gateway.admin.get("/metrics").await;
    assert!(!health.text.contains("adit_panics_total"), "a panic");
}
