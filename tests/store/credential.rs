use adit_domain::{PrincipalId, Timestamp, TokenId};
use adit_store::{CredentialKind, NewCookie, NewCredential, Origin, Paging, SecretHash, silent};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, later, some_hash, told};

on_both!(
    a_credential_is_found_by_its_hash_and_kind,
    an_expired_revoked_or_orphaned_credential_is_not_found,
    a_sign_in_code_opens_one_door_once,
    a_late_sign_in_code_opens_nothing,
    tokens_are_listed_and_revoked,
);

async fn issue(
    world: &World,
    principal: PrincipalId,
    kind: CredentialKind,
    expires_at: Option<Timestamp>,
) -> (TokenId, SecretHash) {
    let (id, hash) = (TokenId(Uuid::now_v7()), some_hash());
    let (name, prefix) = ("laptop".to_owned(), "adt_abcd".to_owned());
    let new = NewCredential { id, principal, kind, name, hash, prefix, expires_at, at: NOW };
    world.tenant.issue_credential(new, silent).await.unwrap();
    (id, hash)
}

fn cookie() -> NewCookie {
    NewCookie {
        id: TokenId(Uuid::now_v7()),
        hash: some_hash(),
        prefix: "adc_abcd".to_owned(),
        name: "browser".to_owned(),
        expires_at: later(1_000_000),
        origin: Origin::default(),
    }
}

async fn a_credential_is_found_by_its_hash_and_kind(world: World) {
    let ann = world.user("ann").await;
    let kinds = [CredentialKind::ApiToken, CredentialKind::SignInCode, CredentialKind::Cookie];
    for kind in kinds {
        let (id, hash) = issue(&world, ann, kind, Some(later(10))).await;
        for asked in kinds {
            let found = world.store.find_credential(asked, hash, NOW).await.unwrap();
            assert_eq!(found.map(|found| found.id), (asked == kind).then_some(id));
        }
    }
}

async fn an_expired_revoked_or_orphaned_credential_is_not_found(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let kind = CredentialKind::ApiToken;
    let (_, expiring) = issue(&world, ann, kind, Some(later(10))).await;
    let (revoked_id, revoked) = issue(&world, ann, kind, None).await;
    let (_, orphaned) = issue(&world, bob, kind, None).await;
    let found =
        async |hash, now| world.store.find_credential(kind, hash, now).await.unwrap().is_some();
    assert!(
        found(expiring, later(9)).await && found(revoked, NOW).await && found(orphaned, NOW).await
    );
    world.tenant.revoke_credential(revoked_id, NOW, silent).await.unwrap();
    world.tenant.deactivate_principal(bob, NOW, silent).await.unwrap();
    assert!(!found(expiring, later(10)).await, "expired");
    assert!(!found(revoked, NOW).await, "revoked");
    assert!(!found(orphaned, NOW).await, "its principal is gone");
}

async fn a_sign_in_code_opens_one_door_once(world: World) {
    let ann = world.user("ann").await;
    let (_, code) = issue(&world, ann, CredentialKind::SignInCode, Some(later(600_000))).await;
    let attempts: Vec<(NewCookie, _)> = (0..50)
        .map(|_| {
            let cookie = cookie();
            let store = world.store.clone();
            let attempt = cookie.clone();
            (cookie, async move {
                store.consume_sign_in_code(code, NOW, attempt, told("sign_in")).await.unwrap()
            })
        })
        .collect();
    let (cookies, attempts): (Vec<_>, Vec<_>) = attempts.into_iter().unzip();
    let outcomes = join_all(attempts.into_iter().map(tokio::spawn)).await;
    let mut in_by = 0;
    for (outcome, cookie) in outcomes.into_iter().zip(cookies) {
        let signed_in = outcome.unwrap();
        let works = world.store.find_credential(CredentialKind::Cookie, cookie.hash, NOW).await;
        assert_eq!(works.unwrap().map(|found| found.principal), signed_in);
        in_by += usize::from(signed_in.is_some_and(|principal| principal.id == ann));
    }
    assert_eq!(in_by, 1);
    assert_eq!(world.verified().await.len(), 50);
}

async fn a_late_sign_in_code_opens_nothing(world: World) {
    let ann = world.user("ann").await;
    let (_, code) = issue(&world, ann, CredentialKind::SignInCode, Some(later(600_000))).await;
    let (_, token) = issue(&world, ann, CredentialKind::ApiToken, Some(later(600_000))).await;
    let late = world.store.consume_sign_in_code(code, later(600_000), cookie(), silent).await;
    let wrong = world.store.consume_sign_in_code(token, NOW, cookie(), silent).await;
    assert_eq!((late.unwrap(), wrong.unwrap()), (None, None));
}

async fn tokens_are_listed_and_revoked(world: World) {
    let ann = world.user("ann").await;
    let kind = CredentialKind::ApiToken;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(issue(&world, ann, kind, None).await.0);
    }
    let revoked = world.tenant.revoke_credential(ids[0], NOW, told("token.revoked")).await.unwrap();
    let again = world.tenant.revoke_credential(ids[0], NOW, silent).await.unwrap();
    assert_eq!((revoked.map(|c| c.id), again), (Some(ids[0]), None));
    world.store.touch_credential(ids[1], later(7)).await.unwrap();
    let list = world.tenant.list_credentials(ann, kind, &Paging::first(10)).await.unwrap().items;
    assert_eq!(list.iter().map(|c| c.id).collect::<Vec<_>>(), [ids[2], ids[1]]);
    assert_eq!(list[1].last_used_at, Some(later(7)));
    assert_eq!(world.tenant.revoke_credentials_of(ann, NOW, silent).await.unwrap(), 2);
    let list = world.tenant.list_credentials(ann, kind, &Paging::first(10)).await.unwrap();
    assert_eq!(list.items, []);
    let kept = world.tenant.find_credential_by_id(ids[2]).await.unwrap().unwrap();
    assert_eq!(kept.revoked_at, Some(NOW));
}
