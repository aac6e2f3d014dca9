//! How fast access tokens are believed: one that was seen before, and the two parts of a first sight.

use std::hint::black_box;
use std::sync::Arc;

use adit_core::keys::Keys;
use adit_core::oauth::client::Client;
use adit_core::random::{SystemClock, SystemIds};
use adit_core::service::ServiceWish;
use adit_core::{Caller, Gateway, Settings};
use adit_domain::service::ClientKind;
use adit_domain::{Capabilities, Clock as _, GatewayId, Ids as _, TokenId};
use adit_store::{NoMeter, Store, StoreConfig, StoreOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Starts a gateway on a folder.
async fn gateway(dir: &std::path::Path) -> Arc<Gateway> {
    let options = StoreOptions {
        gateway: GatewayId(SystemIds.uuid()),
        gateway_name: "bench".to_owned(),
        now: SystemClock.now(),
        meter: Arc::new(NoMeter),
    };
    let store = Store::open(StoreConfig::Sqlite { path: dir.join("adit.db") }, options).await;
    let keys = Keys::load(dir, None, &SystemIds).expect("the folder can be written");
    let store = store.expect("the folder can be written");
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    Gateway::start(store, Settings::new(dir), keys, clock, ids).await.expect("it starts")
}

/// Gives an access token of a service that was just added.
async fn token(gateway: &Gateway) -> String {
    let principal = gateway.first_admin().await.expect("there is an administrator");
    let caller = Caller {
        principal,
        credential: TokenId(SystemIds.uuid()),
        address: None,
        second_factor_at: None,
        limit: None,
        client: None,
    };
    let wish = ServiceWish {
        name: "bench".to_owned(),
        kind: ClientKind::Confidential,
        scopes: Capabilities::all(),
        redirect_uris: vec![],
    };
    let added = gateway.add_service(&caller, wish).await.expect("a service is added");
    let client = Client::Service(Box::new(added.service));
    let issued = gateway.token_for_client(&client, None, None).await.expect("it gets a token");
    issued.access.expose().clone()
}

fn checks(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime is made");
    let folder = tempfile::tempdir().expect("a folder is made");
    let (gateway, token) = runtime.block_on(async {
        let gateway = gateway(folder.path()).await;
        let token = token(&gateway).await;
        (gateway, token)
    });
    let seen = runtime.block_on(gateway.caller_by_access_token(&token, None)).expect("it is good");
    let mut group = c.benchmark_group("access_token");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seen_before", |b| {
        b.iter(|| runtime.block_on(gateway.caller_by_access_token(black_box(&token), None)));
    });
    group.bench_function("first_sight_signature", |b| {
        let now = SystemClock.now();
        b.iter(|| gateway.oauth.keys.verify(black_box(&token), now));
    });
    group.bench_function("first_sight_row", |b| {
        let now = SystemClock.now();
        b.iter(|| runtime.block_on(gateway.store.find_access_token(seen.credential, now)));
    });
    group.finish();
    runtime.block_on(gateway.stop());
}

criterion_group!(benches, checks);
criterion_main!(benches);
