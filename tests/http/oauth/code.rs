//! A client asks a user in a browser (RFC 6749 §4.1), and renews what it got.

use adit_testkit::{Answer, Api, TestGateway};
use reqwest::Method;
use serde_json::{Value, json};

use super::{form, refused, status};

/// The verifier and its challenge of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const BACK: &str = "https://app.example/cb";

/// A service that users let act for them.
struct App {
    id: String,
    secret: Option<String>,
    api: Api,
}

async fn app(gateway: &TestGateway, body: Value) -> App {
    let added = gateway.admin.post("/api/v1/services", body).await.ok();
    let id = added["clientId"].as_str().unwrap().to_owned();
    let secret = added["clientSecret"].as_str().map(str::to_owned);
    App { id, secret, api: gateway.api("") }
}

async fn web_app(gateway: &TestGateway) -> App {
    let scopes = ["machine:view", "terminal:spawn", "terminal:view"];
    app(gateway, json!({"name": "app", "scopes": scopes, "redirectUris": [BACK]})).await
}

async fn native_app(gateway: &TestGateway) -> App {
    let uris = ["http://127.0.0.1/cb"];
    let body =
        json!({"name": "native", "scopes": ["machine:view"], "public": true, "redirectUris": uris});
    app(gateway, body).await
}

impl App {
    fn wish(&self) -> Value {
        json!({"response_type": "code", "client_id": self.id, "redirect_uri": BACK, "scope": "machine:view",
            "state": "x y&z", "code_challenge": CHALLENGE, "code_challenge_method": "S256"})
    }

    /// What a browser that is sent to the server gets.
    async fn browse(&self, wish: &Value) -> Answer {
        let fields: Vec<(&str, &str)> = wish
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let mut url = reqwest::Url::parse(&format!("{}/auth/authorize", self.api.url)).unwrap();
        url.query_pairs_mut().extend_pairs(fields);
        self.api.send(self.api.client.get(url)).await
    }

    /// Lets a user answer, and gives the address that the browser goes to.
    async fn answer(&self, user: &Api, wish: &Value, approve: bool) -> reqwest::Url {
        let body = json!({"request": wish, "approve": approve});
        let onward = user.post("/api/v1/authorization-request", body).await.ok();
        onward["redirect"].as_str().unwrap().parse().unwrap()
    }

    async fn code(&self, user: &Api) -> String {
        let address = self.answer(user, &self.wish(), true).await;
        field(&address, "code").unwrap()
    }

    async fn redeem(&self, code: &str, verifier: Option<&str>, back: Option<&str>) -> Answer {
        let mut fields =
            vec![("grant_type", "authorization_code"), ("client_id", &self.id), ("code", code)];
        fields.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        fields.extend(back.map(|back| ("redirect_uri", back)));
        form(&self.api, "/auth/token", &fields).await
    }

    async fn tokens(&self, user: &Api) -> (String, String) {
        let code = self.code(user).await;
        both(self.redeem(&code, Some(VERIFIER), Some(BACK)).await)
    }

    async fn refresh(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("client_id", &self.id),
            ("refresh_token", token),
        ];
        fields.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        fields.extend_from_slice(more);
        form(&self.api, "/auth/token", &fields).await
    }

    async fn revoke(&self, token: &str) -> Answer {
        let mut fields = vec![("client_id", self.id.as_str()), ("token", token)];
        fields.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        form(&self.api, "/auth/revoke", &fields).await
    }
}

fn both(answer: Answer) -> (String, String) {
    let answer = answer.ok();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

fn field(address: &reqwest::Url, name: &str) -> Option<String> {
    address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_user_lets_a_client_act_for_them_within_the_scopes_that_they_saw() {
    // CMD-10
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let sent = app.browse(&app.wish()).await;
    assert_eq!(sent.status, 303);
    let to = sent.headers["location"].to_str().unwrap();
    assert!(to.starts_with("/ui/authorize?"), "{to}");
    let asked = to.split_once('?').unwrap().1;
    let shown = ann.api.get(&format!("/api/v1/authorization-request?{asked}")).await.ok();
    assert_eq!(shown, json!({"client": "app", "scopes": ["machine:view"], "redirectUri": BACK}));
    let back = app.answer(&ann.api, &app.wish(), true).await;
    assert!(back.as_str().starts_with(BACK));
    assert_eq!(field(&back, "state").as_deref(), Some("x y&z"));
    // RFC 9207
    assert_eq!(field(&back, "iss").as_deref(), Some(gateway.admin.url.as_str()));
    let code = field(&back, "code").unwrap();
    let (access, _) = both(app.redeem(&code, Some(VERIFIER), Some(BACK)).await);
    let me = gateway.api(&access).get("/api/v1/me").await.ok();
    assert_eq!((&me["kind"], &me["name"]), (&json!("user"), &json!("ann")));
    assert_eq!(gateway.api(&access).get("/api/v1/sessions?state=live").await.status, 200);
    let wish = json!({"machine": gateway.machine});
    assert_eq!(gateway.api(&access).post("/api/v1/tickets", wish).await.status, 403);
    let issued = &gateway.events("access_token.issue").await[0];
    assert_eq!(
        (&issued["actor"]["name"], &issued["details"]["oauthClient"]),
        (&json!("ann"), &json!("app"))
    );
}

#[tokio::test]
async fn a_user_says_no() {
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let back = app.answer(&ann.api, &app.wish(), false).await;
    assert_eq!(field(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(field(&back, "state").as_deref(), Some("x y&z"));
    assert_eq!(field(&back, "iss").as_deref(), Some(gateway.admin.url.as_str()));
    assert_eq!(field(&back, "code"), None);
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    // BRW-15
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    for bad in [
        "https://app.example/c",
        "https://app.example/cb/",
        "https://app.example/cb/../cb",
        "https://app.example/cb?x=1",
        "https://app.example/cb#x",
        "https://app.example@evil.example/cb",
        "https://APP.example/cb",
        "https://app.example/%63b",
        "https://evil.example/cb",
        "http://127.0.0.1:4000/cb",
        "javascript:alert(1)",
        "",
    ] {
        let mut wish = app.wish();
        wish["redirect_uri"] = json!(bad);
        let answer = app.browse(&wish).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(!answer.headers.contains_key("location"), "{bad}");
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(bad.is_empty() || !answer.text.contains(bad), "{bad}");
        let body = json!({"request": wish, "approve": true});
        assert_eq!(ann.api.post("/api/v1/authorization-request", body).await.status, 400, "{bad}");
    }
    let mut wish = app.wish();
    wish["client_id"] = json!("00000000-0000-4000-8000-000000000000");
    assert_eq!(app.browse(&wish).await.status, 400);
}

#[tokio::test]
async fn a_request_without_a_challenge_of_the_right_method_is_sent_back() {
    // BRW-16
    let gateway = TestGateway::start();
    let native = native_app(&gateway).await;
    let mut wish = native.wish();
    wish["redirect_uri"] = json!("http://127.0.0.1:54321/cb");
    let good = native.browse(&wish).await;
    assert!(good.headers["location"].to_str().unwrap().starts_with("/ui/authorize?"));
    let change = |name: &str, value: Value| {
        let mut wish = wish.clone();
        if value.is_null() {
            wish.as_object_mut().unwrap().remove(name);
        } else {
            wish[name] = value;
        }
        wish
    };
    for (wish, error) in [
        (change("code_challenge", Value::Null), "invalid_request"),
        (change("code_challenge_method", Value::Null), "invalid_request"),
        (change("code_challenge_method", json!("plain")), "invalid_request"),
        (change("code_challenge", json!("short")), "invalid_request"),
        (change("response_type", json!("token")), "unsupported_response_type"),
        (change("response_type", Value::Null), "invalid_request"),
        (change("scope", json!("audit:read")), "invalid_scope"),
        (change("scope", json!("*")), "invalid_scope"),
    ] {
        let sent = native.browse(&wish).await;
        assert_eq!(sent.status, 303, "{wish}");
        let back: reqwest::Url = sent.headers["location"].to_str().unwrap().parse().unwrap();
        assert!(back.as_str().starts_with("http://127.0.0.1:54321/cb?"), "{back}");
        assert_eq!(field(&back, "error").as_deref(), Some(error), "{back}");
        assert_eq!(field(&back, "state").as_deref(), Some("x y&z"));
    }
}

#[tokio::test]
async fn a_code_is_redeemed_once_and_a_second_time_ends_what_came_of_it() {
    // BRW-18
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let code = app.code(&ann.api).await;
    let (access, refresh) = both(app.redeem(&code, Some(VERIFIER), Some(BACK)).await);
    assert_eq!(status(&gateway, &access).await, 200);
    refused(&app.redeem(&code, Some(VERIFIER), Some(BACK)).await, 400, "invalid_grant");
    assert_eq!(status(&gateway, &access).await, 401);
    refused(&app.refresh(&refresh, &[]).await, 400, "invalid_grant");
    assert_eq!(gateway.events("code.reuse").await.len(), 1);
}

#[tokio::test]
async fn of_many_that_redeem_a_code_at_once_one_gets_tokens_at_most() {
    // BRW-18
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let code = app.code(&ann.api).await;
    let all = (0..10).map(|_| app.redeem(&code, Some(VERIFIER), Some(BACK)));
    let answers = futures_util::future::join_all(all).await;
    let good = answers.iter().filter(|answer| answer.status.is_success()).count();
    assert_eq!(good, 1);
    for answer in &answers {
        if let Some(access) = answer.json()["access_token"].as_str() {
            assert_eq!(status(&gateway, access).await, 401);
        }
    }
}

#[tokio::test]
async fn a_code_buys_nothing_without_its_verifier_its_address_and_its_client() {
    // BRW-16
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let other = native_app(&gateway).await;
    let code = app.code(&ann.api).await;
    refused(&other.redeem(&code, Some(VERIFIER), Some(BACK)).await, 400, "invalid_grant");
    // Another client's try does not spend it.
    app.redeem(&code, Some(VERIFIER), Some(BACK)).await.ok();
    let wrong = "a".repeat(43);
    for (verifier, back) in [
        (None, Some(BACK)),
        (Some(wrong.as_str()), Some(BACK)),
        (Some(CHALLENGE), Some(BACK)),
        (Some(VERIFIER), None),
        (Some(VERIFIER), Some("https://app.example/other")),
    ] {
        let code = app.code(&ann.api).await;
        refused(&app.redeem(&code, verifier, back).await, 400, "invalid_grant");
        refused(&app.redeem(&code, Some(VERIFIER), Some(BACK)).await, 400, "invalid_grant");
    }
    for bad in ["", "aac_x", "arf_x", &"x".repeat(5000)] {
        refused(&app.redeem(bad, Some(VERIFIER), Some(BACK)).await, 400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_a_second_time_ends_its_whole_family() {
    // BRW-20
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let (first, old) = app.tokens(&ann.api).await;
    let (second, new) = both(app.refresh(&old, &[]).await);
    assert_ne!((&first, &old), (&second, &new));
    assert_eq!(status(&gateway, &first).await, 200);
    assert_eq!(status(&gateway, &second).await, 200);
    refused(&app.refresh(&old, &[]).await, 400, "invalid_grant");
    assert_eq!(status(&gateway, &first).await, 401);
    assert_eq!(status(&gateway, &second).await, 401);
    refused(&app.refresh(&new, &[]).await, 400, "invalid_grant");
    let reuse = gateway.events("refresh.reuse").await;
    assert_eq!((reuse.len(), &reuse[0]["outcome"]), (1, &json!("denied")));
}

#[tokio::test]
async fn a_refresh_token_asks_for_less_and_never_for_more() {
    // BRW-27
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let mut wish = app.wish();
    wish["scope"] = json!("machine:view terminal:spawn");
    let code = field(&app.answer(&ann.api, &wish, true).await, "code").unwrap();
    let (_, token) = both(app.redeem(&code, Some(VERIFIER), Some(BACK)).await);
    let more = app.refresh(&token, &[("scope", "machine:view terminal:view")]).await;
    refused(&more, 400, "invalid_scope");
    let less = app.refresh(&token, &[("scope", "machine:view")]).await.ok();
    assert_eq!(less["scope"], "machine:view");
    let token = less["refresh_token"].as_str().unwrap();
    let again = app.refresh(token, &[]).await.ok();
    assert_eq!(again["scope"], "terminal:spawn machine:view");
}

#[tokio::test]
async fn a_refresh_token_is_its_clients_own() {
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let other = native_app(&gateway).await;
    let (access, token) = app.tokens(&ann.api).await;
    refused(&other.refresh(&token, &[]).await, 400, "invalid_grant");
    refused(&other.refresh(&access, &[]).await, 400, "invalid_grant");
    app.refresh(&token, &[]).await.ok();
}

#[tokio::test]
async fn a_refresh_token_ends_with_its_time() {
    let gateway = TestGateway::start_with("[oauth]\nrefresh_token_seconds = 60\n");
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let (_, token) = app.tokens(&ann.api).await;
    gateway.sql("UPDATE oauth_tokens SET expires_at = 0 WHERE kind = 'refresh'");
    refused(&app.refresh(&token, &[]).await, 400, "invalid_grant");
    assert!(gateway.events("refresh.reuse").await.is_empty());
}

#[tokio::test]
async fn a_code_ends_after_a_minute() {
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let code = app.code(&ann.api).await;
    let life = gateway.sql("SELECT expires_at - created_at FROM oauth_codes");
    assert_eq!(life.trim(), "60000");
    gateway.sql("UPDATE oauth_codes SET expires_at = created_at");
    refused(&app.redeem(&code, Some(VERIFIER), Some(BACK)).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_client_revokes_its_own_tokens_and_no_others() {
    // CMD-10
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let other = native_app(&gateway).await;
    let (access, token) = app.tokens(&ann.api).await;
    for shown in [access.as_str(), &token, "nothing", ""] {
        assert_eq!(other.revoke(shown).await.status, 200);
    }
    assert_eq!(status(&gateway, &access).await, 200);
    assert_eq!(app.revoke(&access).await.status, 200);
    assert_eq!(status(&gateway, &access).await, 401);
    let (second, token) = both(app.refresh(&token, &[]).await);
    assert_eq!(app.revoke(&token).await.status, 200);
    assert_eq!(status(&gateway, &second).await, 401);
    refused(&app.refresh(&token, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_client_with_a_secret_asks_whether_a_token_counts() {
    // CMD-10
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let (access, token) = app.tokens(&ann.api).await;
    let ask = async |client: &App, shown: &str| {
        let mut fields = vec![("client_id", client.id.as_str()), ("token", shown)];
        fields.extend(client.secret.as_deref().map(|secret| ("client_secret", secret)));
        form(&client.api, "/auth/introspect", &fields).await
    };
    let told = ask(&app, &access).await.ok();
    assert_eq!((&told["active"], &told["username"]), (&json!(true), &json!("user:ann")));
    assert_eq!((&told["scope"], &told["client_id"]), (&json!("machine:view"), &json!(app.id)));
    assert_eq!(ask(&app, &token).await.ok()["token_type"], "refresh_token");
    for bad in ["", "x", &format!("{access}x"), "adt_x"] {
        assert_eq!(ask(&app, bad).await.ok(), json!({"active": false}));
    }
    let native = native_app(&gateway).await;
    refused(&ask(&native, &access).await, 400, "unauthorized_client");
    app.revoke(&access).await;
    assert_eq!(ask(&app, &access).await.ok(), json!({"active": false}));
}

#[tokio::test]
async fn a_token_of_a_client_lets_no_other_client_act() {
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "admin", None).await);
    let (access, _) = app.tokens(&ann.api).await;
    let body = json!({"request": app.wish(), "approve": true});
    let answer = gateway.api(&access).post("/api/v1/authorization-request", body).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
}

#[tokio::test]
async fn a_user_sees_what_acts_for_them_and_ends_it() {
    let gateway = TestGateway::start();
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let bob = gateway.user("bob", "operator", None).await;
    let (access, _) = app.tokens(&ann.api).await;
    let path = format!("/api/v1/users/{}/authorizations", ann.id);
    let listed = ann.api.get(&path).await.ok();
    assert_eq!(
        (&listed["items"][0]["client"], &listed["items"][0]["flow"]),
        (&json!("app"), &json!("code"))
    );
    assert_eq!(bob.api.get(&path).await.status, 403);
    let one = format!("/api/v1/authorizations/{}", listed["items"][0]["id"].as_str().unwrap());
    assert_eq!(bob.api.delete(&one).await.status, 403);
    assert_eq!(status(&gateway, &access).await, 200);
    assert_eq!(ann.api.delete(&one).await.status, 204);
    assert_eq!(status(&gateway, &access).await, 401);
    let gone = ann.api.send(ann.api.request(Method::DELETE, &one)).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn a_removed_user_and_a_removed_client_end_the_tokens_between_them() {
    let gateway = TestGateway::start();
    let app = web_app(&gateway).await;
    let (ann, bob) =
        (gateway.user("ann", "operator", None).await, gateway.user("bob", "operator", None).await);
    let (ann_access, ann_token) = app.tokens(&ann.api).await;
    let (bob_access, bob_token) = app.tokens(&bob.api).await;
    gateway.admin.delete(&format!("/api/v1/users/{}", ann.id)).await;
    assert_eq!(status(&gateway, &ann_access).await, 401);
    refused(&app.refresh(&ann_token, &[]).await, 400, "invalid_grant");
    assert_eq!(status(&gateway, &bob_access).await, 200);
    gateway.admin.delete(&format!("/api/v1/services/{}", app.id)).await;
    assert_eq!(status(&gateway, &bob_access).await, 401);
    refused(&app.refresh(&bob_token, &[]).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_token_with_scopes_reaches_no_more_of_what_is_its_users_own() {
    // BRW-13
    let gateway = TestGateway::start();
    gateway.machine_online().await;
    let (app, ann) = (web_app(&gateway).await, gateway.user("ann", "operator", None).await);
    let viewer = gateway.open(&ann.api, &[]).await;
    let session = viewer.session();
    let (access, _) = app.tokens(&ann.api).await;
    let api = gateway.api(&access);
    assert_eq!(api.get("/api/v1/machines").await.status, 200);
    assert_eq!(api.get("/api/v1/sessions").await.ok()["items"], json!([]));
    let path = format!("/api/v1/sessions/{session}");
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.get(&format!("{path}/screen")).await.status, 404);
    assert_eq!(api.delete(&path).await.status, 404);
    assert_eq!(api.get(&format!("/api/v1/users/{}/tokens", ann.id)).await.status, 403);
    assert_eq!(api.get(&format!("/api/v1/users/{}/authorizations", ann.id)).await.status, 403);
    let link = json!({"provider": "none"});
    assert_eq!(api.post("/api/v1/me/identities", link).await.status, 403);
    assert_eq!(ann.api.get(&path).await.status, 200);
}
