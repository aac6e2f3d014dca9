//! Signing in by an issuer, and every way in which that is refused.

use serde_json::json;

use super::browser::Browser;
use super::provider::{World, ann};

#[tokio::test]
async fn somebody_new_signs_in_and_is_a_user_without_rights() {
    // CMD-42
    let world = World::start("").await;
    let mut browser = Browser::new();
    let session = world.signed_in(&mut browser).await;
    let me = session.get("/api/v1/me").await.ok();
    assert_eq!((&me["name"], &me["kind"]), (&json!("ann.lee"), &json!("user")));
    assert_eq!(me["grants"], json!([]));
    assert_eq!(session.get("/api/v1/users").await.status, 403);
    let made = world.gateway.events("user.add").await;
    assert_eq!(made[0]["details"]["provider"], "work", "{made:?}");
    let event = &world.gateway.events("sign_in").await[0];
    assert_eq!(
        (&event["details"]["method"], &event["actor"]["name"]),
        (&json!("company"), &json!("ann.lee"))
    );
}

#[tokio::test]
async fn the_same_account_is_the_same_user_whatever_its_claims_say() {
    let world = World::start("").await;
    let first = world.signed_in(&mut Browser::new()).await.get("/api/v1/me").await.ok();
    let mut renamed = ann();
    renamed["preferred_username"] = json!("admin");
    renamed["email"] = json!("other@example.org");
    world.provider.account("ann", renamed).await;
    let second = world.signed_in(&mut Browser::new()).await.get("/api/v1/me").await.ok();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["name"], "ann.lee");
}

#[tokio::test]
async fn the_cookie_is_the_consoles_own() {
    // BRW-38, BRW-57
    let world = World::start("").await;
    let mut browser = Browser::new();
    let page = world.sign_in(&mut browser).await;
    let set = page.cookies.iter().find(|cookie| cookie.starts_with("adit=")).unwrap();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(flag), "{set}");
    }
    assert_eq!(browser.cookie(&world.url("/"), "adit-company"), None, "the way's cookie is gone");
    let again = world.sign_in(&mut browser).await;
    let second = again.cookies.iter().find(|cookie| cookie.starts_with("adit=")).unwrap();
    assert_ne!(set, second);
}

#[tokio::test]
async fn an_address_links_nobody_to_an_account_that_is_there() {
    // BRW-23
    let world = World::start("").await;
    let account = json!({"name": "ann.lee", "email": "ann@example.org"});
    let there = world.gateway.user_of(account, "admin", None).await;
    for verified in [json!(true), json!(false), json!("true"), serde_json::Value::Null] {
        let sub = format!("ann-{verified}");
        let mut claims = ann();
        claims["email_verified"] = verified;
        world.provider.account(&sub, claims).await;
        let session = world.signed_in(&mut Browser::new()).await;
        let me = session.get("/api/v1/me").await.ok();
        assert_ne!(me["id"], json!(there.id), "{sub}");
        assert_eq!(me["grants"], json!([]), "{sub}");
    }
}

#[tokio::test]
async fn a_state_that_is_missing_wrong_or_used_is_refused() {
    // BRW-26
    let world = World::start("").await;
    let mut browser = Browser::new();
    let callback = world.come_back(&mut browser).await;
    let (path, query) = callback.split_once('?').unwrap();
    let other: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("state=")).collect();
    let other = other.join("&");
    let wrong = format!("aco_{}", "A".repeat(43));
    for query in [other.clone(), format!("{other}&state="), format!("{other}&state={wrong}")] {
        let page = browser.clone().visit(&format!("{path}?{query}")).await;
        world.refused(&page, "auth.company_expired");
    }
    assert_eq!(browser.clone().visit(&callback).await.location, Some(world.url("/ui/sessions")));
    let page = browser.visit(&callback).await;
    world.refused(&page, "auth.company_expired");
}

#[tokio::test]
async fn another_browser_cannot_finish_a_sign_in() {
    // BRW-26
    let world = World::start("").await;
    let mut browser = Browser::new();
    let callback = world.come_back(&mut browser).await;
    let page = Browser::new().visit(&callback).await;
    world.refused(&page, "auth.company_expired");
    let page = browser.visit(&callback).await;
    world.refused(&page, "auth.company_expired");
    assert_eq!(world.gateway.events("sign_in").await.len(), 0);
}

#[tokio::test]
async fn an_answer_of_another_issuer_or_of_none_is_refused() {
    // BRW-22
    let world = World::start("").await;
    for iss in ["", "&iss=https%3A%2F%2Fevil.example.org"] {
        let mut browser = Browser::new();
        let callback = world.come_back(&mut browser).await;
        let (path, query) = callback.split_once('?').unwrap();
        assert!(query.contains("iss="), "{query}");
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("iss=")).collect();
        let page = browser.visit(&format!("{path}?{}{iss}", kept.join("&"))).await;
        world.refused(&page, "auth.company_refused");
        assert!(world.reason().await.contains("issuer"), "{}", world.reason().await);
    }
}

#[tokio::test]
async fn an_id_token_with_the_nonce_of_another_sign_in_is_refused() {
    // BRW-26
    let world = World::start("").await;
    let mut browser = Browser::new();
    let begun = browser.visit(&world.url("/auth/company/work")).await.location.unwrap();
    let (before, rest) = begun.split_once("nonce=").unwrap();
    let after = rest.split_once('&').map_or("", |(_, after)| after);
    let bent = format!("{before}nonce=another&{after}");
    let callback = browser.follow(&bent, &world.url("/auth/company/work/callback")).await;
    let page = browser.visit(&callback).await;
    world.refused(&page, "auth.company_refused");
    assert!(world.reason().await.contains("nonce"), "{}", world.reason().await);
}

#[tokio::test]
async fn a_code_of_another_sign_in_is_refused_by_its_verifier() {
    let world = World::start("").await;
    let (mut one, mut other) = (Browser::new(), Browser::new());
    let (mine, theirs) = (world.come_back(&mut one).await, world.come_back(&mut other).await);
    let code = |url: &str| {
        let query = url.split_once('?').unwrap().1;
        query.split('&').find(|pair| pair.starts_with("code=")).unwrap().to_owned()
    };
    let page = one.visit(&mine.replace(&code(&mine), &code(&theirs))).await;
    world.refused(&page, "auth.company_refused");
    assert!(world.reason().await.contains("invalid_grant"), "{}", world.reason().await);
}

#[tokio::test]
async fn a_removed_user_is_refused() {
    // BRW-25
    let world = World::start("").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let id = session.get("/api/v1/me").await.ok()["id"].as_str().unwrap().to_owned();
    assert_eq!(world.gateway.admin.delete(&format!("/api/v1/users/{id}")).await.status, 204);
    assert_eq!(session.get("/api/v1/me").await.status, 401);
    let page = world.sign_in(&mut Browser::new()).await;
    world.refused(&page, "auth.company_refused");
    assert!(world.reason().await.contains("switched off"), "{}", world.reason().await);
}

#[tokio::test]
async fn nobody_is_made_where_the_settings_make_no_users() {
    let world = World::start("create_users = false").await;
    let page = world.sign_in(&mut Browser::new()).await;
    world.refused(&page, "auth.company_refused");
    assert_eq!(world.gateway.events("user.add").await.len(), 1, "the administrator alone");
}

#[tokio::test]
async fn who_is_in_none_of_the_groups_is_refused() {
    let world = World::start("allowed_groups = [\"ops\"]").await;
    let page = world.sign_in(&mut Browser::new()).await;
    world.refused(&page, "auth.company_refused");
    let mut claims = ann();
    claims["groups"] = json!(["eng", "ops"]);
    world.provider.account("ann", claims).await;
    world.signed_in(&mut Browser::new()).await;
}

#[tokio::test]
async fn who_has_no_verified_address_of_the_domain_is_refused() {
    // BRW-23
    let world = World::start("allowed_domains = [\"example.org\"]").await;
    for verified in [json!(false), json!("true"), serde_json::Value::Null] {
        let mut claims = ann();
        claims["email_verified"] = verified.clone();
        world.provider.account("ann", claims).await;
        let page = world.sign_in(&mut Browser::new()).await;
        world.refused(&page, "auth.company_refused");
    }
    world.provider.account("ann", ann()).await;
    world.signed_in(&mut Browser::new()).await;
}

#[tokio::test]
async fn who_does_not_agree_at_the_issuer_is_refused() {
    let world = World::start("").await;
    let mut browser = Browser::new();
    let callback = world.come_back(&mut browser).await;
    let (path, query) = callback.split_once('?').unwrap();
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("code=")).collect();
    let page = browser.visit(&format!("{path}?{}&error=access_denied", kept.join("&"))).await;
    world.refused(&page, "auth.company_refused");
    assert!(world.reason().await.contains("access_denied"));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_told_as_such() {
    let settings = "[[sign_in.provider]]\nname = \"work\"\nkind = \"oidc\"\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"adit\"\n";
    let gateway = adit_testkit::TestGateway::start_with(settings);
    let url = format!("{}/auth/company/work", gateway.admin.url);
    let page = Browser::new().visit(&url).await;
    let place = format!("{}/ui/sign-in#problem=auth.company_unavailable", gateway.admin.url);
    assert_eq!(page.location, Some(place));
}

#[tokio::test]
async fn the_way_back_is_the_settings_own_whatever_a_request_says() {
    // BRW-15, BRW-41
    let world = World::start("").await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.no_proxy().build().unwrap();
    let host = world.gateway.admin.url.trim_start_matches("http://");
    let elsewhere = host.replace("127.0.0.1", "localhost");
    for (host, more) in [
        (host, "?redirect_uri=https://evil.example.org"),
        (host, "?back=//evil.example.org"),
        (host, "?back=https://evil.example.org"),
        (&elsewhere, ""),
    ] {
        let request = client.get(world.url(&format!("/auth/company/work{more}")));
        let request = request.header("host", host).header("x-forwarded-host", "evil.example.org");
        let request = request.header("x-forwarded-proto", "https").header("forwarded", "host=evil");
        let answer = request.send().await.unwrap();
        let to = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(!to.contains("evil"), "{to}");
        let home = world.gateway.admin.url.replace(':', "%3A").replace('/', "%2F");
        let ours = to.starts_with(&world.gateway.admin.url);
        assert!(
            ours || to.contains(&format!("redirect_uri={home}%2Fauth%2Fcompany%2Fwork%2Fcallback")),
            "{to}"
        );
    }
}

#[tokio::test]
async fn no_provider_of_that_name_is_an_address_with_nothing_at_it() {
    let gateway = adit_testkit::TestGateway::start();
    for path in ["/auth/company/work", "/auth/company/work/callback?code=x&state=y"] {
        let page = Browser::new().visit(&format!("{}{path}", gateway.admin.url)).await;
        assert_eq!(page.status, 404, "{path}");
    }
    assert_eq!(gateway.admin.get("/api/v1/sign-in/providers").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn the_sign_in_page_gets_the_providers_and_nothing_secret() {
    let world = World::start("").await;
    let api = world.gateway.api("");
    let shown = api.send(api.client.get(world.url("/api/v1/sign-in/providers"))).await.ok();
    let expected = json!([{"name": "work", "title": "Work", "url": "/auth/company/work"}]);
    assert_eq!(shown["items"], expected);
}

#[tokio::test]
async fn nothing_secret_of_a_sign_in_is_written_down() {
    let world = World::start("").await;
    let mut browser = Browser::new();
    let callback = world.come_back(&mut browser).await;
    let binding = browser.cookie(&world.url("/"), "adit-company").unwrap().to_owned();
    browser.visit(&callback).await;
    let cookie = browser.cookie(&world.url("/"), "adit").unwrap().to_owned();
    let value = |name: &str| {
        let query = callback.split_once('?').unwrap().1;
        query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned()
    };
    for secret in [binding, cookie, value("code="), value("state=")] {
        world.gateway.remember(&secret);
    }
    // The end of the gateway looks for them in its database, log and recordings.
    drop(world);
}
