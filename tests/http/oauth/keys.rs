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

#[tokio::test]
async fn keys_turn_under_load_and_no_good_token_is_refused() {
    // R63
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let first = ci.token().await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let load = async {
        let (mut asked, mut newest) = (0, first.clone());
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(status(&gateway, &first).await, 200, "the first token, after {asked}");
            assert_eq!(status(&gateway, &newest).await, 200, "the newest token, after {asked}");
            newest = ci.token().await;
            asked += 1;
        }
        (asked, newest)
    };
    let turns = async {
        for now in [true, true, false, true] {
            let body = json!({"now": now});
            gateway.admin.post("/api/v1/signing-keys", body).await.ok();
            for _ in 0..5 {
                gateway.admin.get("/.well-known/jwks.json").await.ok();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let ((asked, newest), ()) = tokio::join!(load, turns);
    assert!(asked > 3, "{asked}");
    assert_ne!(part(&first, 0)["kid"], part(&newest, 0)["kid"]);
    let keys = gateway.admin.get("/.well-known/jwks.json").await.ok();
    let published: Vec<_> =
        keys["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    for token in [&first, &newest] {
        assert!(published.contains(&&part(token, 0)["kid"]), "{keys}");
    }
    // One that waits is published too.
    assert_eq!(published.len(), 5);
}

#[tokio::test]
async fn a_key_that_was_revoked_takes_its_tokens_with_it_and_another_signs() {
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let token = ci.token().await;
    assert_eq!(status(&gateway, &token).await, 200);
    let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/signing-keys/{kid}");
    let bob = gateway.user("bob", "operator", None).await;
    assert_eq!(bob.api.delete(&path).await.status, 403);
    assert_eq!(bob.api.post("/api/v1/signing-keys", json!({})).await.status, 403);
    assert_eq!(gateway.admin.delete(&path).await.status, 204);
    assert_eq!(status(&gateway, &token).await, 401);
    let next = ci.token().await;
    assert_eq!(status(&gateway, &next).await, 200);
    assert_ne!(part(&next, 0)["kid"], json!(kid));
    assert_eq!(gateway.admin.delete(&path).await.status, 404);
}

#[tokio::test]
async fn the_servers_metadata_names_what_is_there() {
    // CMD-10
    let gateway = TestGateway::start();
    let told = gateway.api("").get("/.well-known/oauth-authorization-server").await.ok();
    let url = &gateway.admin.url;
    assert_eq!(told["issuer"], json!(url));
    assert_eq!(told["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(told["authorization_response_iss_parameter_supported"], json!(true));
    let grants = told["grant_types_supported"].as_array().unwrap();
    assert!(grants.len() == 5 && !grants.contains(&json!("password")), "{grants:?}");
    for name in [
        "token_endpoint",
        "device_authorization_endpoint",
        "revocation_endpoint",
        "introspection_endpoint",
    ] {
        let address = told[name].as_str().unwrap();
        let answer =
            gateway.admin.send(gateway.admin.client.post(address).form(&[("x", "y")])).await;
        assert_eq!(answer.json()["error"], "invalid_request", "{address}: {}", answer.text);
    }
}
