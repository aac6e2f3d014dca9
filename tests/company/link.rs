//! Linking accounts to users who are there.

use serde_json::json;

use super::browser::Browser;
use super::provider::{Session, World, ann};

/// Signs somebody in by a link that the administrator made.
async fn by_link(world: &World, browser: &mut Browser, user: &str) -> Session {
    let admin = &world.gateway.admin;
    let link = admin.post(&format!("/api/v1/users/{user}/sign-in-links"), json!({})).await.ok();
    let code = link["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
    let request = admin.client.post(world.url("/api/v1/sign-in")).header("origin", &admin.url);
    let answer = admin.send(request.json(&json!({"code": code}))).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    browser.keep(&world.url("/"), &[set]);
    Session { api: admin.clone(), cookie: browser.header(&world.url("/")) }
}

/// Asks to link an account and comes back from the issuer.
async fn link(world: &World, browser: &mut Browser, session: &Session) -> super::browser::Page {
    let answer = session.post("/api/v1/me/identities", json!({"provider": "work"})).await;
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    browser.keep(&world.url("/"), &[set]);
    let url = answer.ok()["url"].as_str().unwrap().to_owned();
    let callback = browser.follow(&url, &world.url("/auth/company/work/callback")).await;
    browser.visit(&callback).await
}

#[tokio::test]
async fn a_user_links_an_account_while_signed_in_and_signs_in_with_it() {
    let world = World::start("create_users = false").await;
    let user = world.gateway.user("bob", "operator", None).await;
    let mut browser = Browser::new();
    let session = by_link(&world, &mut browser, &user.id).await;
    let page = link(&world, &mut browser, &session).await;
    assert_eq!(page.location, Some(world.url("/ui/settings")), "{page:?}");
    let listed = session.get("/api/v1/me/identities").await.ok();
    assert_eq!(listed["items"][0]["subject"], "ann", "{listed}");
    let signed_in = world.signed_in(&mut Browser::new()).await;
    assert_eq!(signed_in.name().await, "bob");
    let event = &world.gateway.events("identity.link").await[0];
    assert_eq!(event["actor"]["name"], "bob", "{event}");
}

#[tokio::test]
async fn an_account_of_somebody_else_is_not_linked() {
    let world = World::start("").await;
    world.signed_in(&mut Browser::new()).await;
    let user = world.gateway.user("bob", "operator", None).await;
    let mut browser = Browser::new();
    let session = by_link(&world, &mut browser, &user.id).await;
    let page = link(&world, &mut browser, &session).await;
    assert_eq!(page.location, Some(world.url("/ui/settings#problem=conflict")));
    assert_eq!(session.get("/api/v1/me/identities").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_sign_in_that_ended_meanwhile_links_nothing() {
    let world = World::start("create_users = false").await;
    let user = world.gateway.user("bob", "operator", None).await;
    let mut browser = Browser::new();
    let session = by_link(&world, &mut browser, &user.id).await;
    let answer = session.post("/api/v1/me/identities", json!({"provider": "work"})).await;
    browser.keep(&world.url("/"), &[answer.headers["set-cookie"].to_str().unwrap().to_owned()]);
    let url = answer.ok()["url"].as_str().unwrap().to_owned();
    let callback = browser.follow(&url, &world.url("/auth/company/work/callback")).await;
    assert_eq!(session.post("/api/v1/sign-out", json!({})).await.status, 204);
    let page = browser.visit(&callback).await;
    assert_eq!(page.location, Some(world.url("/ui/settings#problem=auth.ended")));
    let page = world.sign_in(&mut Browser::new()).await;
    world.refused(&page, "auth.company_refused");
}

#[tokio::test]
async fn another_sites_page_begins_no_linking() {
    // BRW-29, BRW-26
    let world = World::start("").await;
    let mut browser = Browser::new();
    let session = world.signed_in(&mut browser).await;
    let request = session.api.client.post(world.url("/api/v1/me/identities"));
    let request =
        request.header("cookie", &session.cookie).header("origin", "https://evil.example.org");
    let answer = session.api.send(request.json(&json!({"provider": "work"}))).await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (403, "request.origin"));
}

#[tokio::test]
async fn an_account_that_is_taken_away_ends_the_sign_ins_that_came_by_it() {
    let world = World::start("").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let listed = session.get("/api/v1/me/identities").await.ok();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(session.delete(&format!("/api/v1/me/identities/{id}")).await.status, 204);
    assert_eq!(session.get("/api/v1/me").await.status, 401);
    let event = &world.gateway.events("identity.unlink").await[0];
    assert_eq!(event["target"]["name"], "ann.lee", "{event}");
    let again = world.signed_in(&mut Browser::new()).await;
    assert_eq!(again.name().await, "ann.lee-2", "the account is nobody's, and the old user stays");
}

#[tokio::test]
async fn somebody_elses_account_is_as_unknown_as_none() {
    // BRW-52
    let world = World::start("").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let listed = session.get("/api/v1/me/identities").await.ok();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let bob = world.gateway.user("bob", "viewer", None).await;
    let there = bob.api.delete(&format!("/api/v1/me/identities/{id}")).await;
    let none = bob.api.delete("/api/v1/me/identities/0190aaaa-0000-7000-8000-000000000000").await;
    assert_eq!((there.status.as_u16(), &there.text), (404, &none.text));
}

#[tokio::test]
async fn an_administrator_links_and_unlinks_an_account() {
    let world = World::start("create_users = false").await;
    let (admin, bob) = (&world.gateway.admin, world.gateway.user("bob", "viewer", None).await);
    let path = format!("/api/v1/users/{}/identities", bob.id);
    let body = json!({"provider": "work", "subject": "ann"});
    assert_eq!(bob.api.post(&path, body.clone()).await.status, 403);
    for (provider, subject, status) in
        [("other", "ann", 404), ("work", "", 400), ("work", "a\nb", 400), ("work", "ann", 204)]
    {
        let answer = admin.post(&path, json!({"provider": provider, "subject": subject})).await;
        assert_eq!(answer.status, status, "{provider} {subject}: {}", answer.text);
    }
    world.provider.account("ann", ann()).await;
    let session = world.signed_in(&mut Browser::new()).await;
    assert_eq!(session.name().await, "bob");
    let listed = admin.get(&path).await.ok();
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert_eq!(admin.delete(&format!("{path}/{id}")).await.status, 204);
    assert_eq!(session.get("/api/v1/me").await.status, 401);
    assert_eq!(bob.api.get(&path).await.status, 403);
}
