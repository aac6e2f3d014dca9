use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_domain::TenantId;
use adit_store::{Meter, Store, StoreError, StoreOptions, silent};
use futures_util::future::join_all;

use super::database::Database;
use super::on_both;
use super::world::{GATEWAY, NOW, World, event, new_user, told};

on_both!(
    what_waits_is_committed_together,
    a_failure_is_its_own,
    a_caller_that_goes_away_before_its_turn_changes_nothing,
);

/// Counts commits and the operations in them.
#[derive(Default)]
struct Count {
    commits: AtomicUsize,
    operations: AtomicUsize,
}

impl Meter for Count {
    fn committed(&self, operations: usize, _took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(operations, Ordering::Relaxed);
    }

    fn failed(&self) {}
}

/// Opens a world's database once more, with a counter.
async fn counted(database: &Database) -> (Store, Arc<Count>) {
    let count = Arc::new(Count::default());
    let (gateway_name, meter) = ("gate".to_owned(), count.clone());
    let options = StoreOptions { gateway: GATEWAY, gateway_name, now: NOW, meter };
    (Store::open(database.config(), options).await.unwrap(), count)
}

async fn what_waits_is_committed_together(world: World) {
    world.store.close().await;
    let (store, count) = counted(&world.database).await;
    let writes = (0..500).map(|number| {
        let tenant = store.tenant(TenantId::SEED);
        let new = new_user(&format!("user{number}"));
        async move { tenant.create_principal(new, told("user.added")).await.unwrap() }
    });
    join_all(writes).await;
    assert_eq!(count.operations.load(Ordering::Relaxed), 500);
    // All 500 wait before the writer has its first turn on this thread; a batch holds 256.
    let commits = count.commits.load(Ordering::Relaxed);
    assert!(commits < 250, "{commits} commits");
    store.close().await;
}

async fn a_failure_is_its_own(world: World) {
    world.user("user3").await;
    let writes = (0..10).map(|number| {
        let tenant = world.tenant.clone();
        let new = new_user(&format!("user{number}"));
        async move { tenant.create_principal(new, told("user.added")).await }
    });
    let outcomes = join_all(writes).await;
    let failed: Vec<usize> =
        outcomes.iter().enumerate().filter(|(_, o)| o.is_err()).map(|(at, _)| at).collect();
    assert_eq!(failed, [3]);
    assert!(matches!(outcomes[3], Err(StoreError::Conflict(_))));
    assert_eq!(world.verified().await.len(), 9);
}

async fn a_caller_that_goes_away_before_its_turn_changes_nothing(world: World) {
    let new = new_user("ann");
    let id = new.id;
    let (entered, inside) = std::sync::mpsc::sync_channel(1);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let tenant = world.tenant.clone();
    // The writer is held inside an operation's closure while another caller comes and goes.
    let holding = tokio::spawn(async move {
        let hold = move |()| {
            entered.send(()).unwrap();
            held.recv().unwrap();
            vec![event("held")]
        };
        tenant.create_principal(new_user("holder"), move |()| hold(())).await
    });
    tokio::task::spawn_blocking(move || inside.recv().unwrap()).await.unwrap();
    let tenant = world.tenant.clone();
    let going = async move { tenant.create_principal(new, silent).await };
    let went = tokio::select! {
        biased;
        _ = going => false,
        () = tokio::task::yield_now() => true,
    };
    assert!(went, "answered while the writer was held");
    release.send(()).unwrap();
    holding.await.unwrap().unwrap();
    world.tenant.append_events(vec![event("after")]).await.unwrap();
    assert_eq!(world.tenant.find_principal(id).await.unwrap(), None);
    assert_eq!(world.verified().await, ["held", "after"]);
}
