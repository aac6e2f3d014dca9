use adit_domain::principal::PrincipalKind;
use adit_domain::service::ClientKind;
use adit_domain::{Capabilities, Capability, FamilyId, KeyId, PrincipalId, PrincipalName, TokenId};
use adit_store::{
    Conflict, DeviceAnswer, DeviceState, Flow, Issue, NewAccessToken, NewClientSecret, NewCode,
    NewDevice, NewFamily, NewRefreshToken, NewService, NewSigningKey, Paging, SecretHash,
    StoreError, silent,
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, later, some_hash, told};

on_both!(
    a_service_is_a_principal_and_a_client,
    a_secret_counts_for_its_client_until_its_end,
    a_removed_service_ends_what_it_holds,
    an_access_token_counts_while_everything_that_it_rests_on_stands,
    of_many_that_use_a_code_one_does,
    of_many_that_use_a_refresh_token_one_does,
    a_device_is_answered_and_used_once,
    what_ended_long_ago_is_forgotten,
    signing_keys_stand_in_the_order_in_which_they_sign,
    one_tenant_sees_no_service_of_another,
);

const SOME: Capabilities = Capabilities::of(&[Capability::TerminalSpawn, Capability::AuditRead]);

fn new_service(name: &str, secret: Option<SecretHash>) -> NewService {
    let secret = secret.map(|hash| NewClientSecret {
        id: TokenId(Uuid::now_v7()),
        hash,
        prefix: "acs_abcd".to_owned(),
    });
    NewService {
        id: PrincipalId(Uuid::now_v7()),
        name: PrincipalName::new(PrincipalKind::Service, name).unwrap(),
        kind: if secret.is_some() { ClientKind::Confidential } else { ClientKind::Public },
        scopes: SOME,
        redirect_uris: vec!["https://a/cb".to_owned(), "https://b/cb".to_owned()],
        secret,
        at: NOW,
    }
}

async fn service(world: &World, name: &str) -> (PrincipalId, SecretHash) {
    let hash = some_hash();
    let new = new_service(name, Some(hash));
    let id = new.id;
    world.tenant.create_service(new, told("service.add")).await.unwrap();
    (id, hash)
}

fn access() -> NewAccessToken {
    NewAccessToken { id: TokenId(Uuid::now_v7()), expires_at: later(1_000) }
}

fn refresh() -> NewRefreshToken {
    NewRefreshToken { id: TokenId(Uuid::now_v7()), hash: some_hash(), expires_at: later(10_000) }
}

fn issue(principal: PrincipalId, client: Option<PrincipalId>) -> Issue {
    let family = NewFamily {
        id: FamilyId(Uuid::now_v7()),
        principal,
        client,
        flow: Flow::Code,
        scopes: SOME,
        subject: None,
        expires_at: Some(later(10_000)),
        at: NOW,
    };
    Issue { family, access: access(), refresh: Some(refresh()) }
}

async fn a_service_is_a_principal_and_a_client(world: World) {
    let (id, _) = service(&world, "ci").await;
    let found = world.store.find_client(id).await.unwrap().unwrap();
    assert_eq!((found.scopes, found.kind), (SOME, ClientKind::Confidential));
    assert_eq!(found.redirect_uris, ["https://a/cb", "https://b/cb"]);
    let facts = world.tenant.load_facts(id).await.unwrap().unwrap();
    assert!(facts.active && facts.principal == found.principal);
    let again = world.tenant.create_service(new_service("ci", None), silent).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::NameTaken))), "{again:?}");
    // Another kind of principal may have the name.
    world.user("ci").await;
    service(&world, "other").await;
    let first = world.tenant.list_services(&Paging::first(1)).await.unwrap();
    assert_eq!(first.items, [found]);
    let rest = world.tenant.list_services(&Paging { cursor: first.next, limit: 5 }).await.unwrap();
    assert_eq!(rest.items.len(), 1);
    assert_eq!(world.verified().await, ["service.add", "service.add"]);
}

async fn a_secret_counts_for_its_client_until_its_end(world: World) {
    let ((ci, old), (other, _)) = (service(&world, "ci").await, service(&world, "other").await);
    let counts =
        async |id, hash, now| world.store.client_secret_counts(id, hash, now).await.unwrap();
    assert!(counts(ci, old, NOW).await && !counts(other, old, NOW).await);
    assert!(!counts(ci, some_hash(), NOW).await);
    let hash = some_hash();
    let new = NewClientSecret { id: TokenId(Uuid::now_v7()), hash, prefix: String::new() };
    assert!(world.tenant.rotate_client_secret(ci, new, later(10), NOW, silent).await.unwrap());
    assert!(counts(ci, old, later(9)).await && counts(ci, hash, later(9)).await);
    assert!(!counts(ci, old, later(10)).await && counts(ci, hash, later(10)).await);
    let listed = world.tenant.list_client_secrets(ci, later(9)).await.unwrap();
    assert_eq!(listed.len(), 2);
    let public = new_service("public", None);
    let id = public.id;
    world.tenant.create_service(public, silent).await.unwrap();
    let new =
        NewClientSecret { id: TokenId(Uuid::now_v7()), hash: some_hash(), prefix: String::new() };
    assert!(!world.tenant.rotate_client_secret(id, new, NOW, NOW, silent).await.unwrap());
}

async fn a_removed_service_ends_what_it_holds(world: World) {
    let ((ci, secret), ann) = (service(&world, "ci").await, world.user("ann").await);
    let (own, lent) = (issue(ci, Some(ci)), issue(ann, Some(ci)));
    for issue in [own.clone(), lent.clone()] {
        world.tenant.create_family(issue, silent).await.unwrap();
    }
    assert!(world.tenant.remove_service(ci, NOW, told("service.remove")).await.unwrap());
    assert!(!world.tenant.remove_service(ci, NOW, told("service.remove")).await.unwrap());
    assert_eq!(world.store.find_client(ci).await.unwrap(), None);
    assert!(!world.store.client_secret_counts(ci, secret, NOW).await.unwrap());
    for issue in [own, lent] {
        assert_eq!(world.store.find_access_token(issue.access.id, NOW).await.unwrap(), None);
        assert!(!world.store.credential_counts(issue.access.id, NOW).await.unwrap());
        let refresh = issue.refresh.unwrap().hash;
        assert_eq!(world.store.find_refresh_token(refresh).await.unwrap(), None);
    }
    assert!(!world.tenant.load_facts(ci).await.unwrap().unwrap().active);
    service(&world, "ci").await;
}

async fn an_access_token_counts_while_everything_that_it_rests_on_stands(world: World) {
    let ((ci, _), ann) = (service(&world, "ci").await, world.user("ann").await);
    let make = async |principal, client| {
        let issue = issue(principal, client);
        world.tenant.create_family(issue.clone(), silent).await.unwrap();
        (issue.access.id, issue.family.id)
    };
    let finds = async |id, now| world.store.find_access_token(id, now).await.unwrap();
    let (one, family) = make(ann, Some(ci)).await;
    let (cli, _) = make(ann, None).await;
    let found = finds(one, later(999)).await.unwrap();
    assert_eq!(
        (found.principal.id, found.family, found.client.as_deref()),
        (ann, family, Some("ci"))
    );
    assert_eq!(finds(cli, NOW).await.unwrap().client, None);
    assert_eq!(finds(one, later(1_000)).await, None, "expired");
    // What rests on it lives as long as the authorization.
    assert!(world.store.credential_counts(one, later(9_999)).await.unwrap());
    assert!(!world.store.credential_counts(one, later(10_000)).await.unwrap());
    let standing = world.store.find_standing(cli, NOW).await.unwrap().unwrap();
    assert_eq!(standing.client.as_deref(), Some("adit-cli"));
    assert!(world.tenant.revoke_access_token(one, NOW, told("x")).await.unwrap());
    assert!(!world.tenant.revoke_access_token(one, NOW, silent).await.unwrap());
    assert_eq!(finds(one, NOW).await, None, "revoked");
    let (two, family) = make(ann, Some(ci)).await;
    let before = world.store.load_access_version().await.unwrap();
    assert!(world.tenant.revoke_family(family, NOW, told("x")).await.unwrap());
    assert!(world.store.load_access_version().await.unwrap() > before);
    assert_eq!(finds(two, NOW).await, None, "its authorization was revoked");
    assert_eq!(world.tenant.find_family(family).await.unwrap(), None);
    let (three, _) = make(ann, Some(ci)).await;
    let listed = world.tenant.list_families(ann, NOW, &Paging::first(10)).await.unwrap();
    assert_eq!(listed.items.len(), 3);
    world.tenant.deactivate_principal(ann, NOW, silent).await.unwrap();
    assert_eq!(finds(three, NOW).await, None, "its user is gone");
    assert!(!world.store.credential_counts(three, NOW).await.unwrap());
}

async fn of_many_that_use_a_code_one_does(world: World) {
    // BRW-18
    let ((ci, _), ann) = (service(&world, "ci").await, world.user("ann").await);
    let (id, hash) = (TokenId(Uuid::now_v7()), some_hash());
    let new = NewCode {
        id,
        hash,
        client: ci,
        principal: ann,
        scopes: SOME,
        redirect_uri: "https://a/cb".to_owned(),
        challenge: Some("c".to_owned()),
        expires_at: later(60_000),
        at: NOW,
    };
    world.tenant.issue_auth_code(new, silent).await.unwrap();
    let found = world.store.find_auth_code(hash).await.unwrap().unwrap();
    assert_eq!((found.client, found.principal, found.scopes, found.used_at), (ci, ann, SOME, None));
    let late = world.tenant.use_auth_code(id, None, later(60_000), silent).await.unwrap();
    assert!(!late);
    let tries = (0..20).map(|_| {
        let (tenant, issue) = (world.tenant.clone(), issue(ann, Some(ci)));
        tokio::spawn(async move {
            let family = issue.family.id;
            let done = tenant.use_auth_code(id, Some(issue), NOW, told("code")).await.unwrap();
            done.then_some(family)
        })
    });
    let won: Vec<_> =
        join_all(tries).await.into_iter().filter_map(|outcome| outcome.unwrap()).collect();
    let used = world.store.find_auth_code(hash).await.unwrap().unwrap();
    assert_eq!((won.len(), used.family), (1, Some(won[0])));
    assert_eq!(
        world.tenant.list_families(ann, NOW, &Paging::first(50)).await.unwrap().items.len(),
        1
    );
}

async fn of_many_that_use_a_refresh_token_one_does(world: World) {
    // BRW-20
    let ann = world.user("ann").await;
    let issue = issue(ann, None);
    let old = issue.refresh.unwrap();
    let family = issue.family.id;
    world.tenant.create_family(issue, silent).await.unwrap();
    let found = world.store.find_refresh_token(old.hash).await.unwrap().unwrap();
    assert_eq!((found.id, found.used_at, found.family.id), (old.id, None, family));
    let tries = (0..20).map(|_| {
        let tenant = world.tenant.clone();
        let mut next = refresh();
        next.expires_at = later(20_000);
        tokio::spawn(async move {
            let rows = (access(), next);
            tenant.rotate_refresh_token(old.id, family, rows, NOW, silent).await.unwrap()
        })
    });
    let won =
        join_all(tries).await.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    let used = world.store.find_refresh_token(old.hash).await.unwrap().unwrap();
    assert_eq!((used.used_at, used.family.expires_at), (Some(NOW), Some(later(20_000))));
    world.tenant.revoke_family(family, NOW, silent).await.unwrap();
    assert_eq!(world.store.find_refresh_token(old.hash).await.unwrap(), None);
}

async fn a_device_is_answered_and_used_once(world: World) {
    let ann = world.user("ann").await;
    let (id, hash, user_hash) = (TokenId(Uuid::now_v7()), some_hash(), some_hash());
    let new = NewDevice {
        id,
        tenant: world.tenant.id(),
        hash,
        user_hash,
        client: None,
        scopes: SOME,
        address: Some("192.0.2.1".to_owned()),
        expires_at: later(1_000),
        at: NOW,
    };
    world.store.begin_device(new).await.unwrap();
    assert!(world.store.find_pending_device(user_hash, later(999)).await.unwrap().is_some());
    assert_eq!(world.store.find_pending_device(user_hash, later(1_000)).await.unwrap(), None);
    world.store.note_poll(id, later(5)).await.unwrap();
    assert_eq!(world.store.find_device(hash).await.unwrap().unwrap().polled_at, Some(later(5)));
    assert!(!world.tenant.use_device(id, issue(ann, None), silent).await.unwrap());
    let by = (world.tenant.id(), ann);
    let answer = async |at| {
        world.store.answer_device(id, by, DeviceAnswer::Approve, at, told("device")).await.unwrap()
    };
    assert!(!answer(later(1_000)).await && answer(NOW).await && !answer(NOW).await);
    let device = world.store.find_device(hash).await.unwrap().unwrap();
    assert_eq!((device.state, device.principal), (DeviceState::Approved, Some(ann)));
    assert!(world.tenant.use_device(id, issue(ann, None), silent).await.unwrap());
    assert!(!world.tenant.use_device(id, issue(ann, None), silent).await.unwrap());
}

async fn what_ended_long_ago_is_forgotten(world: World) {
    let ann = world.user("ann").await;
    let (old, live) = (issue(ann, None), issue(ann, None));
    let mut live = live;
    live.family.at = later(20_000);
    live.access.expires_at = later(30_000);
    let hash = live.refresh.as_ref().unwrap().hash;
    live.refresh.as_mut().unwrap().expires_at = later(30_000);
    world.tenant.create_family(old.clone(), silent).await.unwrap();
    world.tenant.create_family(live.clone(), silent).await.unwrap();
    world.store.forget_oauth(later(15_000)).await.unwrap();
    assert_eq!(world.tenant.find_family(old.family.id).await.unwrap(), None);
    assert!(world.store.find_refresh_token(hash).await.unwrap().is_some());
    assert!(world.store.find_access_token(live.access.id, NOW).await.unwrap().is_some());
}

async fn signing_keys_stand_in_the_order_in_which_they_sign(world: World) {
    // R63
    let key = |n: u128, signs_from| NewSigningKey {
        id: KeyId(Uuid::from_u128(n)),
        public: vec![4; 65],
        sealed: vec![1, 2, 3],
        signs_from,
        at: NOW,
    };
    for new in [key(1, later(50)), key(2, NOW), key(3, later(20))] {
        world.store.add_signing_key(new, told("signing_key.add")).await.unwrap();
    }
    let ids = async || {
        let rows = world.store.list_signing_keys().await.unwrap();
        rows.iter().map(|row| row.id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, [2, 3, 1]);
    let gone = vec![KeyId(Uuid::from_u128(3))];
    world.store.remove_signing_keys(gone, NOW, silent).await.unwrap();
    assert_eq!(ids().await, [2, 1]);
}

async fn one_tenant_sees_no_service_of_another(world: World) {
    // DESK-7
    let ((ci, _), ann) = (service(&world, "ci").await, world.user("ann").await);
    let issue = issue(ann, Some(ci));
    world.tenant.create_family(issue.clone(), silent).await.unwrap();
    let other = world.other_tenant().await;
    assert_eq!(other.find_service(ci).await.unwrap(), None);
    assert_eq!(other.list_services(&Paging::first(5)).await.unwrap().items, []);
    assert_eq!(other.find_family(issue.family.id).await.unwrap(), None);
    assert!(!other.revoke_family(issue.family.id, NOW, silent).await.unwrap());
    assert!(!other.revoke_access_token(issue.access.id, NOW, silent).await.unwrap());
    assert!(!other.remove_service(ci, NOW, silent).await.unwrap());
    assert!(world.store.find_access_token(issue.access.id, NOW).await.unwrap().is_some());
}
