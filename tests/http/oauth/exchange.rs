//! A CI job's own token buys one of a service (RFC 8693).

use std::net::SocketAddr;

use adit_testkit::{Answer, TestGateway};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{form, grant, refused, service};

const KIND: &str = "urn:ietf:params:oauth:token-type:id_token";

/// An issuer as a CI system is one: it says who its jobs are, and publishes its keys.
struct Forge {
    url: String,
    pair: EcdsaKeyPair,
}

impl Forge {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at: SocketAddr = listener.local_addr().unwrap();
        let url = format!("http://{at}");
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let half = |from: usize| URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
            "x": half(1), "y": half(33)}]});
        let found = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async || Json(found)))
            .route("/keys", get(async || Json(keys)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, pair }
    }

    fn claims(&self) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        json!({"iss": self.url, "aud": "adit", "sub": "repo:org/app", "iat": now.as_secs(), "exp": now.as_secs() + 300,
            "repository": "org/app", "ref": "refs/heads/main"})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "1"}), claims)
    }

    fn gateway(&self) -> TestGateway {
        TestGateway::start_with(&format!(
            "[[oauth.trust]]\nname = \"forge\"\nissuer = \"{}\"\naudience = \"adit\"\nservice = \"deploy\"\n\
             scopes = [\"machine:view\", \"terminal:spawn\"]\n\
             claims = {{ repository = \"org/app\", ref = [\"refs/heads/main\", \"refs/heads/next\"] }}\n",
            self.url
        ))
    }
}

async fn exchange(gateway: &TestGateway, token: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", KIND),
    ];
    fields.extend_from_slice(more);
    form(&gateway.api(""), "/auth/token", &fields).await
}

#[tokio::test]
async fn a_job_gets_a_token_of_its_service_by_what_its_own_system_says_of_it() {
    // BEY-4, CMD-10
    let forge = Forge::start().await;
    let gateway = forge.gateway();
    service(&gateway, "deploy", &["machine:view", "audit:read"]).await;
    grant(&gateway, "deploy", "operator").await;
    let answer = exchange(&gateway, &forge.token(&forge.claims()), &[]).await.ok();
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    // What the service is registered for, and the trust gives.
    assert_eq!(answer["scope"], "machine:view");
    assert!(answer.get("refresh_token").is_none());
    let api = gateway.api(answer["access_token"].as_str().unwrap());
    assert_eq!(api.get("/api/v1/me").await.ok()["name"], "deploy");
    let issued = &gateway.events("access_token.issue").await[0];
    assert_eq!(issued["details"]["subject"], "forge: repo:org/app");
    let more = exchange(&gateway, &forge.token(&forge.claims()), &[("scope", "audit:read")]).await;
    refused(&more, 400, "invalid_scope");
}

#[tokio::test]
async fn a_token_that_is_not_trusted_buys_nothing() {
    // BEY-4, BRW-07, BRW-11, BRW-12
    let forge = Forge::start().await;
    let other = Forge::start().await;
    let gateway = forge.gateway();
    service(&gateway, "deploy", &["machine:view"]).await;
    let with = |name: &str, value: Value| {
        let mut claims = forge.claims();
        claims[name] = value;
        forge.token(&claims)
    };
    let unsigned = |alg: &str| {
        let token = forge.sign(&json!({"alg": alg, "kid": "1"}), &forge.claims());
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    let bad = [
        with("repository", json!("org/evil")),
        with("ref", json!("refs/heads/evil")),
        with("aud", json!("other")),
        with("aud", json!(["other"])),
        with("exp", json!(1)),
        with("exp", json!("9999999999")),
        with("exp", json!(1e308)),
        with("exp", Value::Null),
        with("iss", json!("https://unknown.example")),
        other.token(&forge.claims()),
        other.token(&other.claims()),
        forge.sign(&json!({"alg": "ES256", "kid": "2"}), &forge.claims()),
        forge.sign(&json!({"alg": "HS256", "kid": "1"}), &forge.claims()),
        unsigned("none"),
        unsigned("ES256"),
        String::new(),
        "x.y.z".to_owned(),
        "x".repeat(20_000),
    ];
    let mut told = Vec::new();
    for token in &bad {
        let answer = exchange(&gateway, token, &[]).await;
        refused(&answer, 400, "invalid_grant");
        told.push(answer.text);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "all are refused alike: {told:?}");
    let good = forge.token(&forge.claims());
    exchange(&gateway, &good, &[]).await.ok();
    let kind = ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &good),
        kind,
    ];
    refused(&form(&gateway.api(""), "/auth/token", &fields).await, 400, "invalid_request");
}

#[tokio::test]
async fn what_is_trusted_is_shown_to_those_who_manage_access() {
    // CMD-42
    let forge = Forge::start().await;
    let gateway = forge.gateway();
    let bob = gateway.user("bob", "operator", None).await;
    let shown = gateway.admin.get("/api/v1/status").await.ok();
    assert_eq!(shown["settings"]["oauth"]["accessTokenSeconds"], 1800);
    assert_eq!(shown["settings"]["oauth"]["trust"][0]["claims"]["repository"], json!(["org/app"]));
    let shown = bob.api.get("/api/v1/status").await.ok();
    assert_eq!(shown["settings"]["oauth"]["trust"], json!([]));
}
