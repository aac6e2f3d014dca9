//! GitHub, as its documentation describes it: a small server that speaks the same API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use adit_core::token::Hash;
use adit_testkit::{TestGateway, eventually};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::browser::{Browser, Page};

/// What the server knows.
#[derive(Debug, Default)]
struct Known {
    /// The challenge of each code that it gave.
    codes: BTreeMap<String, String>,
    /// Whether its token still counts.
    revoked: bool,
    user: Value,
    emails: Value,
    orgs: Vec<Value>,
    teams: Vec<Value>,
}

type Shared = Arc<Mutex<Known>>;
type Fields = BTreeMap<String, String>;

const TOKEN: &str = "gho_of_a_test";

/// A gateway and its GitHub.
struct World {
    known: Shared,
    gateway: TestGateway,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(lines: &str) -> Self {
        let known = Shared::default();
        set(&known, 583_231, "Octo-Cat", &["acme"], &[("acme", "platform")]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = format!("http://{}", listener.local_addr().unwrap());
        let router = router(Arc::clone(&known));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s3cret-of-github\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, private).unwrap();
        let gateway = TestGateway::start_with(&format!(
            "[[sign_in.provider]]\nname = \"github\"\nkind = \"github\"\nissuer = \"{site}\"\nclient_id = \"adit\"\nclient_secret_file = \"{}\"\n{lines}\n",
            secret.display()
        ));
        gateway.remember("s3cret-of-github");
        gateway.remember(TOKEN);
        Self { known, gateway, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.admin.url)
    }

    async fn sign_in(&self, browser: &mut Browser) -> Page {
        let callback = self.url("/auth/company/github/callback");
        let back = browser.follow(&self.url("/auth/company/github"), &callback).await;
        browser.visit(&back).await
    }

    async fn me(&self, browser: &Browser) -> adit_testkit::Answer {
        let api = &self.gateway.admin;
        let request = api.client.get(self.url("/api/v1/me"));
        api.send(request.header("cookie", browser.header(&api.url))).await
    }
}

fn set(known: &Shared, id: u64, login: &str, orgs: &[&str], teams: &[(&str, &str)]) {
    let mut known = known.lock().unwrap();
    known.user = json!({"id": id, "login": login, "email": null, "name": "Octo"});
    known.emails = json!([
        {"email": "old@example.org", "primary": false, "verified": true},
        {"email": "octo@example.org", "primary": true, "verified": true},
    ]);
    known.orgs = orgs.iter().map(|login| json!({"login": login})).collect();
    let team = |(org, slug): &(&str, &str)| json!({"slug": slug, "organization": {"login": org}});
    known.teams = teams.iter().map(team).collect();
}

fn router(known: Shared) -> Router {
    Router::new()
        .route("/login/oauth/authorize", get(authorize))
        .route("/login/oauth/access_token", post(access_token))
        .route(
            "/api/v3/user",
            get(|s: State<Shared>, h: HeaderMap| asked(s, h, |k| k.user.clone())),
        )
        .route(
            "/api/v3/user/emails",
            get(|s: State<Shared>, h: HeaderMap| asked(s, h, |k| k.emails.clone())),
        )
        .route("/api/v3/user/orgs", get(|s, h, q| page(s, h, q, |k| k.orgs.clone())))
        .route("/api/v3/user/teams", get(|s, h, q| page(s, h, q, |k| k.teams.clone())))
        .with_state(known)
}

async fn authorize(known: State<Shared>, Query(query): Query<Fields>) -> Redirect {
    assert_eq!((&*query["client_id"], &*query["code_challenge_method"]), ("adit", "S256"));
    assert_eq!(query["scope"], "read:user user:email read:org");
    let code = format!("code{}", known.lock().unwrap().codes.len());
    known.lock().unwrap().codes.insert(code.clone(), query["code_challenge"].clone());
    Redirect::to(&format!("{}?code={code}&state={}", query["redirect_uri"], query["state"]))
}

/// GitHub answers 200 to a request that is wrong as well.
async fn access_token(known: State<Shared>, Form(form): Form<Fields>) -> Json<Value> {
    let challenge = known.lock().unwrap().codes.remove(&form["code"]);
    let shown = URL_SAFE_NO_PAD.encode(Hash::of(&form["code_verifier"]).0);
    if form["client_secret"] != "s3cret-of-github" {
        return Json(json!({"error": "incorrect_client_credentials"}));
    }
    if challenge != Some(shown) {
        return Json(json!({"error": "bad_verification_code"}));
    }
    Json(
        json!({"access_token": TOKEN, "scope": "read:org,read:user,user:email", "token_type": "bearer"}),
    )
}

async fn asked(known: State<Shared>, headers: HeaderMap, what: fn(&Known) -> Value) -> Response {
    let known = known.lock().unwrap();
    // GitHub refuses a client that does not name itself.
    assert!(headers.contains_key("user-agent"));
    if known.revoked || headers["authorization"] != format!("Bearer {TOKEN}") {
        return (StatusCode::UNAUTHORIZED, Json(json!({"message": "Bad credentials"})))
            .into_response();
    }
    Json(what(&known)).into_response()
}

async fn page(
    known: State<Shared>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
    what: fn(&Known) -> Vec<Value>,
) -> Response {
    let (size, number): (usize, usize) =
        (query["per_page"].parse().unwrap(), query["page"].parse().unwrap());
    let items = what(&known.lock().unwrap());
    let items: Vec<Value> = items.into_iter().skip(size * (number - 1)).take(size).collect();
    match asked(known, headers, |_| Value::Null).await {
        refused if refused.status() == StatusCode::UNAUTHORIZED => refused,
        _ => Json(items).into_response(),
    }
}

#[tokio::test]
async fn somebody_signs_in_by_github_under_a_number_that_stays() {
    let world = World::start("allowed_groups = [\"acme/platform\"]").await;
    let mut browser = Browser::new();
    assert_eq!(world.sign_in(&mut browser).await.location, Some(world.url("/ui/")));
    let first = world.me(&browser).await.ok();
    assert_eq!(first["name"], "octo-cat");
    // Logins change hands; the number does not.
    set(&world.known, 583_231, "renamed", &["acme"], &[("acme", "platform")]);
    let mut again = Browser::new();
    world.sign_in(&mut again).await;
    assert_eq!(world.me(&again).await.ok()["id"], first["id"]);
    set(&world.known, 7, "Octo-Cat", &["acme"], &[("acme", "platform")]);
    let mut other = Browser::new();
    world.sign_in(&mut other).await;
    assert_eq!(world.me(&other).await.ok()["name"], "octo-cat-2");
}

#[tokio::test]
async fn all_pages_of_teams_count() {
    let world = World::start("allowed_groups = [\"acme/t230\"]").await;
    let names: Vec<String> = (0..231).map(|n| format!("t{n}")).collect();
    let teams: Vec<(&str, &str)> = names.iter().map(|name| ("acme", name.as_str())).collect();
    set(&world.known, 1, "ann", &["acme"], &teams);
    assert_eq!(world.sign_in(&mut Browser::new()).await.location, Some(world.url("/ui/")));
}

#[tokio::test]
async fn who_is_in_no_organisation_that_may_sign_in_is_refused() {
    let world = World::start("allowed_groups = [\"acme\"]").await;
    set(&world.known, 1, "ann", &["evil"], &[("evil", "acme")]);
    let page = world.sign_in(&mut Browser::new()).await;
    let place = world.url("/ui/sign-in#problem=auth.company_refused");
    assert_eq!(page.location, Some(place));
}

#[tokio::test]
async fn a_code_that_is_not_of_this_sign_in_is_refused() {
    // BRW-26
    let world = World::start("allowed_groups = [\"acme\"]").await;
    let callback = world.url("/auth/company/github/callback");
    let mut browser = Browser::new();
    let back = browser.follow(&world.url("/auth/company/github"), &callback).await;
    let page = browser.visit(&back.replace("code=code0", "code=code9")).await;
    let place = world.url("/ui/sign-in#problem=auth.company_refused");
    assert_eq!(page.location.as_deref(), Some(&*place));
    let reason = world.gateway.events("sign_in.refused").await[0]["details"]["reason"].clone();
    assert_eq!(reason, "GitHub answers bad_verification_code");
}

#[tokio::test]
async fn a_token_that_github_revoked_ends_the_sign_in() {
    // BRW-25
    let world = World::start("allowed_groups = [\"acme\"]\nrefresh_every_seconds = 1").await;
    let mut browser = Browser::new();
    world.sign_in(&mut browser).await;
    assert_eq!(world.me(&browser).await.status, 200);
    world.known.lock().unwrap().revoked = true;
    let ended = async || (world.me(&browser).await.status == 401).then_some(());
    eventually("end of the sign-in", ended).await;
}
