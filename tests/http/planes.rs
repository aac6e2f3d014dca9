//! Each kind of credential opens the doors of its own plane, and no other.

use adit_testkit::{Api, TestGateway};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::document::{Operation, operations};
use crate::http::oauth;
use crate::http::sign_in_invitation::{accept, invitation};
use crate::http::sign_in_password::{CHEAP, PASSWORD, somebody};
use crate::http::sign_in_second_factor::{App, go_on, step, with_authenticator};

/// The client that asks for device codes.
const CLI: (&str, &str) = ("client_id", "adit-cli");

/// One credential of each kind, all good.
struct Credentials {
    by_kind: Vec<(&'static str, String)>,
    /// The authenticator of whoever the step of a sign-in is for.
    app: App,
}

/// How a credential is presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Carrier {
    Bearer,
    Cookie,
}

impl Credentials {
    async fn issue(gateway: &TestGateway) -> Self {
        let user = gateway.user("ann", "admin", None).await;
        let ticket = gateway.ticket(&user.api, json!({"machine": gateway.machine})).await;
        let everything: Vec<&str> =
            adit_domain::Capability::ALL.iter().map(|one| one.as_str()).collect();
        let client = oauth::service(gateway, "ci", &everything).await;
        oauth::grant(gateway, "ci", "admin").await;
        let bob = somebody(gateway, "bob").await;
        let (app, _) = with_authenticator(&bob).await;
        let begun = oauth::form(&gateway.admin, "/auth/device", &[CLI]).await.ok();
        let device = begun["device_code"].as_str().unwrap().to_owned();
        let guest = gateway.user("guest", "viewer", None).await;
        let by_kind = vec![
            ("access token", client.token().await),
            (
                "refresh token",
                oauth::device_tokens(gateway, &user).await["refresh_token"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            ),
            ("client secret", client.secret),
            ("API token", user.api.token.clone()),
            ("cookie", cookie(gateway, &user.id).await),
            ("ticket", ticket),
            ("machine key", machine_key(&gateway.admin).await),
            ("enrolment token", enrolment_token(&gateway.admin).await),
            ("sign-in code", sign_in_code(&gateway.admin, &user.id).await),
            ("support code", support_code(&gateway.admin).await),
            ("invitation", invitation(gateway, &guest.id).await),
            ("step of a sign-in", step(&gateway.admin, "bob").await),
            ("device code", device),
        ];
        Self { by_kind, app }
    }
}

async fn sign_in_code(admin: &Api, user: &str) -> String {
    let path = format!("/api/v1/users/{user}/sign-in-links");
    let link = admin.post(&path, json!({})).await.ok();
    link["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned()
}

async fn cookie(gateway: &TestGateway, user: &str) -> String {
    let code = sign_in_code(&gateway.admin, user).await;
    let answer = gateway.admin.post("/api/v1/sign-in", json!({"code": code})).await;
    let set = answer.headers["set-cookie"].to_str().unwrap();
    set.split([';', '=']).nth(1).unwrap().to_owned()
}

async fn enrolment_token(admin: &Api) -> String {
    let issued = admin.post("/api/v1/enrolment-tokens", json!({})).await.ok();
    issued["token"].as_str().unwrap().to_owned()
}

async fn support_code(admin: &Api) -> String {
    let issued = admin.post("/api/v1/support-codes", json!({})).await.ok();
    issued["supportCode"].as_str().unwrap().to_owned()
}

/// The text of a link key, as a machine would send it.
const LINK_KEY: &str = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";

async fn machine_key(admin: &Api) -> String {
    let token = enrolment_token(admin).await;
    let body = json!({"token": token, "linkKey": LINK_KEY, "label": "elsewhere"});
    let enrolled = admin.post("/api/enroll", body).await.ok();
    enrolled["agentKey"].as_str().unwrap().to_owned()
}

fn opens(kind: &str, carrier: Carrier) -> bool {
    matches!(
        (kind, carrier),
        ("API token" | "access token", Carrier::Bearer) | ("cookie", Carrier::Cookie)
    )
}

async fn present(api: &Api, operation: &Operation, carrier: Carrier, secret: &str) -> u16 {
    let url = format!("{}{}", api.url, operation.path_with("00000000-0000-4000-8000-000000000000"));
    let mut request = api.client.request(operation.method.clone(), url);
    request = match carrier {
        Carrier::Bearer => request.bearer_auth(secret),
        Carrier::Cookie => {
            request.header("cookie", format!("adit={secret}")).header("origin", &api.url)
        }
    };
    if !matches!(operation.method, Method::GET | Method::DELETE) {
        request = request.json(&json!({}));
    }
    // The stream of changes has no end, so that its body is not read.
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_credential_opens_no_route_of_another_plane() {
    // BEY-16, BRW-13, AGT-01
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    let mut guarded: Vec<Operation> = operations(&gateway.admin).await;
    guarded.retain(|operation| !operation.is_public);
    // Signing out ends the very credentials that the others are tried with.
    guarded.sort_by_key(|operation| operation.path.ends_with("sign-out"));
    assert!(guarded.len() > 30, "{}", guarded.len());
    for operation in &guarded {
        for (kind, secret) in &credentials.by_kind {
            for carrier in [Carrier::Bearer, Carrier::Cookie] {
                let status = present(&gateway.admin, operation, carrier, secret).await;
                let door = format!("{kind} as {carrier:?} on {operation}: {status}");
                // What signs a person in is changed by a sign-in that may do everything, never by a program's token.
                let own = operation.path.starts_with("/api/v1/me/") && *kind == "access token";
                if opens(kind, carrier) && own && status == 403 {
                    continue;
                }
                if opens(kind, carrier) {
                    assert!(!matches!(status, 401 | 403 | 500..), "{door}");
                } else {
                    assert_eq!(status, 401, "{door}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_open_without_a_credential() {
    // BEY-16
    let gateway = TestGateway::start();
    for operation in operations(&gateway.admin).await {
        if !operation.is_public {
            let url = format!("{}{}", gateway.admin.url, operation.path_with("x"));
            let request = gateway.admin.client.request(operation.method.clone(), url);
            let answer = gateway.admin.send(request.json(&json!({}))).await;
            assert_eq!(answer.status, 401, "{operation}");
            assert_eq!(answer.code(), "auth.required", "{operation}");
            assert!(answer.headers.contains_key("www-authenticate"), "{operation}");
        }
    }
}

#[tokio::test]
async fn only_a_sign_in_code_signs_in() {
    // BEY-16, BRW-13
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    for (kind, secret) in &credentials.by_kind {
        let answer = gateway.admin.post("/api/v1/sign-in", json!({"code": secret})).await;
        let expected = if *kind == "sign-in code" { 204 } else { 401 };
        assert_eq!(answer.status, expected, "{kind}: {}", answer.text);
    }
}

#[tokio::test]
async fn only_an_enrolment_token_enrols() {
    // BEY-16, BRW-13
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    for (n, (kind, secret)) in credentials.by_kind.iter().enumerate() {
        let link_key = LINK_KEY.replace("BQ", "Bg");
        let body = json!({"token": secret, "linkKey": link_key});
        let answer = gateway.admin.from_address(n as u8 + 1).post("/api/enroll", body).await;
        let expected = if *kind == "enrolment token" { 201 } else { 401 };
        assert_eq!(answer.status, expected, "{kind}: {}", answer.text);
    }
}

#[tokio::test]
async fn only_a_support_code_lets_a_machine_in_for_support() {
    // DESK-2, BEY-16
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    for (n, (kind, secret)) in credentials.by_kind.iter().enumerate() {
        let link_key = LINK_KEY.replace("BQ", &format!("{}Q", char::from(b'C' + n as u8)));
        let body = json!({"supportCode": secret, "linkKey": link_key});
        // Wrong ones are slowed down for each address; the limit is not what is looked at here.
        let api = gateway.admin.from_address(n as u8 + 1);
        let answer = api.post("/api/support", body).await;
        let expected = if *kind == "support code" { 201 } else { 401 };
        assert_eq!(answer.status, expected, "{kind}: {}", answer.text);
    }
}

#[tokio::test]
async fn only_an_invitation_and_a_step_lead_on_with_a_sign_in() {
    // BEY-16, BRW-13
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    for (n, (kind, secret)) in credentials.by_kind.iter().enumerate() {
        let api = gateway.admin.from_address(n as u8 + 1);
        let answer = accept(&api, json!({"code": secret, "password": PASSWORD})).await;
        let expected = if *kind == "invitation" { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{kind} as an invitation: {}", answer.text);
        let answer = go_on(&api, secret, &credentials.app.code(0)).await;
        let expected = if *kind == "step of a sign-in" { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{kind} as a step: {}", answer.text);
    }
}

#[tokio::test]
async fn each_grant_of_oauth_takes_its_own_kind() {
    // BEY-16, BRW-13
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    for (n, (kind, secret)) in credentials.by_kind.iter().enumerate() {
        let api = gateway.admin.from_address(n as u8 + 1);
        let doors = [
            ("refresh token", "refresh_token", "refresh_token", 200),
            // The user has not answered: it is known, and nothing comes of it.
            ("device code", device, "device_code", 400),
            ("authorization code", "authorization_code", "code", 200),
        ];
        for (own, grant, field, status) in doors {
            let form = [CLI, ("grant_type", grant), (field, secret.as_str())];
            let answer = oauth::form(&api, "/auth/token", &form).await;
            let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            if *kind == own && own == "device code" {
                assert_eq!((answer.status.as_u16(), &*error), (status, "authorization_pending"));
            } else if *kind == own {
                assert_eq!(answer.status, status, "{kind}: {}", answer.text);
            } else {
                assert!(
                    matches!(&*error, "invalid_grant" | "invalid_request"),
                    "{kind} as {own}: {}",
                    answer.text
                );
            }
        }
    }
}

#[tokio::test]
async fn only_a_machine_key_opens_the_machine_plane() {
    // AGT-01, BEY-16
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    for (kind, secret) in &credentials.by_kind {
        let request = upgrade(&gateway.admin, "/ws/agent").bearer_auth(secret);
        let status = request.send().await.unwrap().status();
        let expected = if *kind == "machine key" { 101 } else { 401 };
        assert_eq!(status, expected, "{kind}");
    }
    let refused = gateway.events("credential.wrong_plane").await;
    assert_eq!(refused.len(), credentials.by_kind.len() - 1, "{refused:?}");
}

#[tokio::test]
async fn only_a_ticket_opens_a_session() {
    // BEY-16, BRW-13
    let gateway = TestGateway::start_with(CHEAP);
    let credentials = Credentials::issue(&gateway).await;
    for (kind, secret) in &credentials.by_kind {
        let mut terminal = gateway.redeem(secret, None).await.unwrap();
        let event = adit_testkit::within("answer", terminal.next()).await.unwrap();
        match event {
            adit_link::viewer::Event::Admitted(_) => assert_eq!(*kind, "ticket"),
            adit_link::viewer::Event::Ended(ended) => {
                assert_eq!(ended.code, "ticket.invalid", "{kind}");
                assert_ne!(*kind, "ticket");
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
}

/// Begins a WebSocket's upgrade, as far as HTTP is concerned.
pub fn upgrade(api: &Api, path: &str) -> reqwest::RequestBuilder {
    let request = api.client.get(format!("{}{path}", api.url));
    request
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn metrics_need_the_right_to_the_audit_log_where_they_are_not_open() {
    // RES-15
    let gateway = TestGateway::start_with("open_metrics = false\n");
    let auditor = gateway.user("eve", "auditor", None).await;
    let operator = gateway.user("oli", "operator", None).await;
    let bare: Api = gateway.api("");
    let without = bare.send(bare.client.get(format!("{}/metrics", bare.url))).await;
    assert_eq!(without.status, 401);
    assert_eq!(operator.api.get("/metrics").await.status, 403);
    let shown = auditor.api.get("/metrics").await;
    assert_eq!(shown.status, 200);
    assert_ne!(shown.json(), Value::from(0));
    assert!(shown.text.contains("adit_connections"), "{}", shown.text);
}
