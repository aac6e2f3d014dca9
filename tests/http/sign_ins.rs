//! Where a user is signed in, and ending that.

use adit_testkit::TestGateway;
use serde_json::{Value, json};

use crate::http::sign_in_password::{CHEAP, PASSWORD, cookie_of, me, sign_in, somebody};
use crate::http::sign_in_second_factor::with_authenticator;

async fn list(api: &adit_testkit::Api, user: &str) -> Vec<Value> {
    let listed = api.get(&format!("/api/v1/users/{user}/sign-ins")).await.ok();
    listed["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_user_sees_where_they_are_signed_in_and_ends_one() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let first = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let second = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let found = list(&ann.api, &ann.id).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["method"], "password");
    assert_eq!(found[0]["address"], "127.0.0.1");
    let newest = found[0]["id"].as_str().unwrap();
    let path = format!("/api/v1/users/{}/sign-ins/{newest}", ann.id);
    assert_eq!(ann.api.delete(&path).await.status, 204);
    assert_eq!(me(&gateway.admin, &second).await.status, 401);
    assert_eq!(me(&gateway.admin, &first).await.status, 200);
    assert_eq!(ann.api.delete(&path).await.status, 404);
}

#[tokio::test]
async fn ending_all_others_keeps_the_one_that_asks() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let own = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let other = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let url = format!("{}/api/v1/users/{}/sign-ins/end", ann.api.url, ann.id);
    let request = ann.api.client.post(url).header("cookie", &own).header("origin", &ann.api.url);
    let ended = ann.api.send(request.json(&json!({}))).await.ok();
    assert_eq!(ended["ended"], 1);
    assert_eq!(me(&gateway.admin, &own).await.status, 200);
    assert_eq!(me(&gateway.admin, &other).await.status, 401);
}

#[tokio::test]
async fn another_users_sign_ins_are_an_administrators_to_see_and_end() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let ben = somebody(&gateway, "ben").await;
    let cookie = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let path = format!("/api/v1/users/{}/sign-ins", ann.id);
    assert_eq!(ben.api.get(&path).await.status, 403);
    let found = list(&gateway.admin, &ann.id).await;
    let one = format!("{path}/{}", found[0]["id"].as_str().unwrap());
    assert_eq!(ben.api.delete(&one).await.status, 403);
    let bens = format!("/api/v1/users/{}/sign-ins/{}", ben.id, found[0]["id"].as_str().unwrap());
    assert_eq!(ben.api.delete(&bens).await.status, 404, "another's by a path of one's own");
    assert_eq!(gateway.admin.delete(&one).await.status, 204);
    assert_eq!(me(&gateway.admin, &cookie).await.status, 401);
}

#[tokio::test]
async fn an_administrator_takes_lost_second_factors_away() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    with_authenticator(&ann).await;
    let path = format!("/api/v1/users/{}/factors", ann.id);
    assert_eq!(ann.api.delete(&path).await.status, 403);
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.json()["done"], false);
    assert_eq!(gateway.admin.delete(&path).await.status, 204);
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.json()["done"], true);
}
