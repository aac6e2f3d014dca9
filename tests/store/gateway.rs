use adit_domain::GatewayId;
use adit_store::{StoreError, silent};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{GATEWAY, World, event, new_user, open, told, verified};

on_both!(
    a_second_process_with_this_identity_is_refused,
    a_gateway_that_was_taken_over_changes_nothing_more,
    a_closed_store_finishes_what_waits,
    a_chain_goes_on_without_its_gateways_row,
);

async fn a_second_process_with_this_identity_is_refused(world: World) {
    // MNO-07
    let second = open(world.database.config(), GATEWAY).await;
    assert!(matches!(second, Err(StoreError::GatewayInUse)));
    world.tenant.append_events(vec![event("still")]).await.unwrap();
    let world = world.reopen().await;
    world.tenant.append_events(vec![event("again")]).await.unwrap();
    assert_eq!(world.verified().await, ["still", "again"]);
}

async fn a_gateway_that_was_taken_over_changes_nothing_more(world: World) {
    // MNO-07
    world.tenant.append_events(vec![event("before")]).await.unwrap();
    world.database.tamper("UPDATE gateways SET fence = fence + 1");
    let new = new_user("ann");
    let id = new.id;
    let refused = world.tenant.create_principal(new, told("user.added")).await;
    assert!(matches!(refused, Err(StoreError::Fenced)));
    assert!(world.store.check().await.is_err());
    let again = world.tenant.append_events(vec![event("after")]).await;
    assert!(matches!(again, Err(StoreError::Fenced)));
    assert_eq!(world.tenant.find_principal(id).await.unwrap(), None);
    assert_eq!(world.verified().await, ["before"]);
}

async fn a_closed_store_finishes_what_waits(world: World) {
    let writes = (0..50).map(|number| {
        let tenant = world.tenant.clone();
        let new = new_user(&format!("user{number}"));
        async move { tenant.create_principal(new, told("user.added")).await.is_ok() }
    });
    let (outcomes, ()) = tokio::join!(join_all(writes), world.store.close());
    let refused = world.tenant.append_events(vec![event("late")]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    let store = open(world.database.config(), GatewayId(Uuid::from_u128(7))).await.unwrap();
    store.tenant(world.tenant.id()).create_principal(new_user("x"), silent).await.unwrap();
    store.close().await;
    let store = open(world.database.config(), GATEWAY).await.unwrap();
    assert_eq!(verified(&store).await.len(), outcomes.into_iter().filter(|ok| *ok).count());
}

async fn a_chain_goes_on_without_its_gateways_row(world: World) {
    world.tenant.append_events(vec![event("a"), event("b")]).await.unwrap();
    world.store.close().await;
    world.database.tamper("DELETE FROM gateways");
    let world = World::on(world.database).await;
    world.tenant.append_events(vec![event("c")]).await.unwrap();
    assert_eq!(world.verified().await, ["a", "b", "c"]);
}
