//! Alerts of several gateways on one database.

use adit_testkit::{Api, eventually};

use super::pair::Pair;

async fn alerts(api: &Api) -> Vec<String> {
    let listed = api.get("/api/v1/alerts").await.ok();
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|one| one["actor"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_happens_at_several_gateways_is_one_alert_and_not_one_a_gateway() {
    // CMD-41
    let pair = Pair::start_with("[alerts]\nrefusals = 4").await;
    let (ann, bob) = (pair.user_at_b("ann").await, pair.user_at_b("bob").await);
    for user in [&ann, &bob] {
        for api in [&pair.a.api(&user.api.token), &user.api] {
            for _ in 0..2 {
                assert_eq!(api.get("/api/v1/audit").await.status, 403);
            }
        }
    }
    let found = eventually("an alert of each", async || {
        let found = alerts(&pair.b.admin).await;
        (found.len() >= 2).then_some(found)
    });
    let mut found = found.await;
    found.sort();
    assert_eq!(found, ["ann", "bob"]);
    assert_eq!(pair.a.events("alert.raised").await.len(), 2);
    assert_eq!(alerts(&pair.a.admin).await.len(), 2);
}
