//! A client for itself (RFC 6749 §4.4).

use adit_testkit::TestGateway;
use serde_json::json;

use super::{form, grant, part, refused, service, status};

const CLIENT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn a_service_gets_a_token_and_does_what_its_grant_and_its_scopes_allow() {
    // CMD-10
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view", "terminal:spawn"]).await;
    grant(&gateway, "ci", "operator").await;
    let answer = ci.ask(&[CLIENT]).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = answer.ok();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(1800)));
    assert_eq!(answer["scope"], "terminal:spawn machine:view");
    assert!(answer.get("refresh_token").is_none());
    let token = answer["access_token"].as_str().unwrap();
    let api = gateway.api(token);
    let me = api.get("/api/v1/me").await.ok();
    assert_eq!((&me["kind"], &me["name"]), (&json!("service"), &json!("ci")));
    assert_eq!(api.get("/api/v1/machines").await.ok()["items"].as_array().unwrap().len(), 1);
    // The role would let it; the scope does not.
    let refused = api.get("/api/v1/audit").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let wish = json!({"machine": gateway.machine, "capabilities": ["terminal:input"]});
    let refused = api.post("/api/v1/tickets", wish).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "access.scope_missing"));
    let wish = json!({"machine": gateway.machine, "capabilities": ["terminal:spawn"]});
    api.post("/api/v1/tickets", wish).await.ok();
}

#[tokio::test]
async fn a_token_says_who_it_is_for_and_until_when() {
    // CMD-10
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let token = ci.token().await;
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    let url = &gateway.admin.url;
    assert_eq!(claims["iss"], json!(url));
    assert_eq!(claims["aud"], json!(format!("{url}/api/v1")));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(ci.id), &json!(ci.id)));
    assert_eq!(claims["scope"], "machine:view");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 1800);
    let keys = gateway.api("").get("/.well-known/jwks.json").await;
    assert_eq!(keys.headers["cache-control"], "public, max-age=240");
    let keys = keys.ok();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert!(keys["keys"][0].get("d").is_none());
    assert_ne!(part(&ci.token().await, 1)["jti"], claims["jti"]);
}

#[tokio::test]
async fn a_client_shows_its_secret_in_the_header_or_in_the_form_and_not_in_both() {
    // CMD-10
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let at = format!("{}/auth/token", ci.api.url);
    let basic = |secret: &str| ci.api.client.post(&at).basic_auth(&ci.id, Some(secret));
    ci.api.send(basic(&ci.secret).form(&[CLIENT])).await.ok();
    let both = ci.api.send(basic(&ci.secret).form(&[CLIENT, ("client_secret", &ci.secret)])).await;
    refused(&both, 400, "invalid_request");
    let wrong = ci.api.send(basic("acs_wrong").form(&[CLIENT])).await;
    refused(&wrong, 401, "invalid_client");
    assert!(wrong.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    let other = ci.api.send(ci.api.client.post(&at).bearer_auth("x").form(&[CLIENT])).await;
    refused(&other, 401, "invalid_client");
}

#[tokio::test]
async fn a_client_that_is_not_there_and_one_with_a_wrong_secret_are_refused_alike() {
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let other = service(&gateway, "other", &["machine:view"]).await;
    let mut answers = Vec::new();
    for (id, secret) in [
        (ci.id.as_str(), other.secret.as_str()),
        (&ci.id, "wrong"),
        (&ci.id, ""),
        ("00000000-0000-4000-8000-000000000000", &ci.secret),
        ("nobody", &ci.secret),
        ("adit-cli", &ci.secret),
    ] {
        let answer =
            form(&ci.api, "/auth/token", &[CLIENT, ("client_id", id), ("client_secret", secret)])
                .await;
        refused(&answer, 401, "invalid_client");
        answers.push(answer.text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let without = form(&ci.api, "/auth/token", &[CLIENT, ("client_id", &ci.id)]).await;
    refused(&without, 401, "invalid_client");
    assert!(!gateway.events("client.refused").await.is_empty());
}

#[tokio::test]
async fn a_scope_that_a_client_is_not_registered_for_is_refused_and_not_narrowed() {
    // BRW-27
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view", "terminal:spawn"]).await;
    for scope in ["audit:read", "machine:view audit:read", "*", "terminal:*", "nothing:here"] {
        refused(&ci.ask(&[CLIENT, ("scope", scope)]).await, 400, "invalid_scope");
    }
    let narrow = ci.ask(&[CLIENT, ("scope", "machine:view")]).await.ok();
    assert_eq!(narrow["scope"], "machine:view");
}

#[tokio::test]
async fn a_request_that_is_not_well_formed_is_refused_as_the_standard_says() {
    // CMD-10
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    refused(&ci.ask(&[]).await, 400, "invalid_request");
    refused(&form(&ci.api, "/auth/token", &[CLIENT]).await, 400, "invalid_request");
    let password = [("grant_type", "password"), ("username", "ann"), ("password", "x")];
    refused(&ci.ask(&password).await, 400, "unsupported_grant_type");
    refused(&ci.ask(&[("grant_type", "implicit")]).await, 400, "unsupported_grant_type");
    let twice = [CLIENT, ("scope", "machine:view"), ("scope", "machine:view")];
    refused(&ci.ask(&twice).await, 400, "invalid_request");
    let json = ci.api.post("/auth/token", json!({"grant_type": "client_credentials"})).await;
    refused(&json, 400, "invalid_request");
    let address = format!("{}/auth/token?client_id=x", ci.api.url);
    assert_eq!(ci.api.send(ci.api.client.get(address)).await.status, 405);
}

#[tokio::test]
async fn an_old_secret_counts_for_a_while_after_a_new_one() {
    let gateway = TestGateway::start_with("[oauth]\nsecret_grace_seconds = 0\n");
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let path = format!("/api/v1/services/{}/secrets", ci.id);
    let rotated = gateway.admin.post(&path, json!({})).await.ok();
    let new = rotated["clientSecret"].as_str().unwrap();
    refused(&ci.ask(&[CLIENT]).await, 401, "invalid_client");
    let fields = [CLIENT, ("client_id", &ci.id), ("client_secret", new)];
    form(&ci.api, "/auth/token", &fields).await.ok();

    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let path = format!("/api/v1/services/{}/secrets", ci.id);
    gateway.admin.post(&path, json!({})).await.ok();
    ci.ask(&[CLIENT]).await.ok();
    let shown = gateway.admin.get(&format!("/api/v1/services/{}", ci.id)).await.ok();
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2, "{shown}");
    assert!(!shown.to_string().contains(&ci.secret));
}

#[tokio::test]
async fn a_service_that_was_removed_gets_no_token_and_its_tokens_open_nothing() {
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let token = ci.token().await;
    assert_eq!(status(&gateway, &token).await, 200);
    let path = format!("/api/v1/services/{}", ci.id);
    assert_eq!(gateway.admin.delete(&path).await.status, 204);
    assert_eq!(status(&gateway, &token).await, 401);
    refused(&ci.ask(&[CLIENT]).await, 401, "invalid_client");
    assert_eq!(gateway.admin.delete(&path).await.status, 404);
    service(&gateway, "ci", &["machine:view"]).await;
}

#[tokio::test]
async fn a_service_is_added_by_whoever_may_manage_access_and_only_well_formed() {
    let gateway = TestGateway::start();
    let operator = gateway.user("oli", "operator", None).await;
    let good = json!({"name": "ci", "scopes": ["machine:view"]});
    assert_eq!(operator.api.post("/api/v1/services", good.clone()).await.status, 403);
    assert_eq!(operator.api.get("/api/v1/services").await.status, 403);
    for bad in [
        json!({"name": "CI", "scopes": ["machine:view"]}),
        json!({"name": "ci", "scopes": []}),
        json!({"name": "ci", "scopes": ["*"]}),
        json!({"name": "ci", "scopes": ["machine:view audit:read"]}),
        json!({"name": "ci", "scopes": ["machine:view"], "redirectUris": ["http://evil.example/cb"]}),
    ] {
        assert_eq!(gateway.admin.post("/api/v1/services", bad.clone()).await.status, 400, "{bad}");
    }
    let added = gateway.admin.post("/api/v1/services", good.clone()).await;
    assert_eq!(added.status, 201);
    assert_eq!(gateway.admin.post("/api/v1/services", good).await.status, 409);
    let listed = gateway.admin.get("/api/v1/services").await.ok();
    assert_eq!(listed["items"][0]["name"], "ci");
    assert!(listed["items"][0].get("clientSecret").is_none());
    let users = gateway.admin.get("/api/v1/users").await.ok();
    assert!(!users.to_string().contains("\"ci\""), "{users}");
}

#[tokio::test]
async fn a_token_with_scopes_does_not_buy_one_without() {
    // BRW-13
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    grant(&gateway, "ci", "admin").await;
    let api = gateway.api(&ci.token().await);
    let path = format!("/api/v1/users/{}/tokens", ci.id);
    assert_eq!(api.post(&path, json!({"name": "more"})).await.status, 403);
}

#[tokio::test]
async fn a_session_of_a_service_says_who_and_which_client_and_ends_with_it() {
    let gateway = TestGateway::start();
    gateway.machine_online().await;
    let scopes =
        ["terminal:spawn", "terminal:input", "terminal:view", "terminal:resize", "machine:view"];
    let ci = service(&gateway, "ci", &scopes).await;
    grant(&gateway, "ci", "operator").await;
    let api = gateway.api(&ci.token().await);
    let mut viewer = gateway.open(&api, &[]).await;
    let started = &gateway.events("terminal_session_start").await[0];
    assert_eq!(started["actor"]["kind"], "service");
    assert_eq!(started["details"]["oauthClient"], "ci", "{started}");
    gateway.admin.delete(&format!("/api/v1/services/{}", ci.id)).await;
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, "access.inactive");
}
