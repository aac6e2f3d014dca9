use adit_domain::session::State;
use adit_domain::ticket::{Purpose, Thumbprint, Ticket};
use adit_domain::{Code, EndReason, SessionId, TicketId, TokenId};
use adit_store::{
    Conflict, CredentialKind, NewCredential, NewEvent, Redemption, SecretHash, SessionBytes, Store,
    StoreError, silent,
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{
    NOW, World, enrolment_token, event, later, machine_of, new_machine, new_session, some_hash,
    ticket, told, user_of,
};

on_both!(
    of_fifty_that_redeem_a_ticket_one_gets_it,
    a_ticket_is_refused_from_its_end_on,
    a_redeemed_ticket_says_what_was_issued,
    a_voided_ticket_is_refused,
    a_ticket_goes_to_the_key_that_it_is_bound_to,
    a_ticket_needs_its_session,
    tickets_are_forgotten_and_unused_sessions_end,
    an_epoch_takes_back_what_any_tenant_was_handed_out,
);

fn redeemed(outcome: &Redemption) -> Vec<NewEvent> {
    let is_redeemed = matches!(outcome, Redemption::Redeemed(_));
    vec![event(if is_redeemed { "ticket.redeemed" } else { "ticket.refused" })]
}

async fn redeem(store: &Store, hash: SecretHash) -> Option<Ticket> {
    match store.redeem_ticket(hash, None, NOW, redeemed).await.unwrap() {
        Redemption::Redeemed(ticket) => Some(ticket),
        Redemption::OtherKey(_) | Redemption::Unknown => None,
    }
}

async fn of_fifty_that_redeem_a_ticket_one_gets_it(world: World) {
    // TKT-01 TKT-02
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    for _ in 0..20 {
        let (hash, session) = world.ticket(ann, web).await;
        let attempts = (0..50).map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move { redeem(&store, hash).await })
        });
        let won: Vec<Ticket> =
            join_all(attempts).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(won.iter().map(|t| t.session).collect::<Vec<_>>(), [session]);
        assert_eq!(redeem(&world.store, hash).await, None);
    }
    let told = world.verified().await;
    assert_eq!(told.iter().filter(|name| *name == "ticket.redeemed").count(), 20);
    assert_eq!(told.len(), 20 * 51);
}

async fn a_ticket_is_refused_from_its_end_on(world: World) {
    // TKT-03
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (late, _) = world.ticket(ann, web).await;
    let (timely, _) = world.ticket(ann, web).await;
    let refused = world.store.redeem_ticket(late, None, later(30_000), silent).await.unwrap();
    let taken = world.store.redeem_ticket(timely, None, later(29_999), silent).await.unwrap();
    assert_eq!(refused, Redemption::Unknown);
    assert!(matches!(taken, Redemption::Redeemed(_)));
    // R28
    assert_eq!(
        redeem(&world.store, late).await,
        None,
        "a clock that is set back makes it good no more"
    );
    assert_eq!(redeem(&world.store, some_hash()).await, None);
}

async fn a_redeemed_ticket_says_what_was_issued(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let live = world.session(ann, web, NOW).await;
    let hash = some_hash();
    let id = TicketId(Uuid::now_v7());
    let join = Ticket { id, purpose: Purpose::Join, ..ticket(&world.tenant, ann, web, live) };
    world.tenant.issue_ticket(join.clone(), hash, None, told("ticket.issued")).await.unwrap();
    assert_eq!(redeem(&world.store, hash).await, Some(join));
}

async fn a_ticket_goes_to_the_key_that_it_is_bound_to(world: World) {
    // BEY-5
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let live = world.session(ann, web, NOW).await;
    let (hash, key) = (some_hash(), Thumbprint([7; 32]));
    let own = ticket(&world.tenant, ann, web, live);
    let bound = Ticket { purpose: Purpose::Join, key: Some(key), ..own };
    world.tenant.issue_ticket(bound.clone(), hash, None, silent).await.unwrap();
    let store = &world.store;
    let redeem = async |proved, at| store.redeem_ticket(hash, proved, at, silent).await.unwrap();
    let other = Redemption::OtherKey(bound.clone());
    assert_eq!(redeem(None, NOW).await, other);
    assert_eq!(redeem(Some(Thumbprint([8; 32])), NOW).await, other);
    assert_eq!(redeem(Some(key), NOW).await, Redemption::Redeemed(bound));
    assert_eq!(redeem(Some(key), NOW).await, Redemption::Unknown);
    assert_eq!(redeem(None, NOW).await, Redemption::Unknown);
    let late = some_hash();
    let id = TicketId(Uuid::now_v7());
    let again = Ticket {
        id,
        key: Some(key),
        purpose: Purpose::Join,
        ..ticket(&world.tenant, ann, web, live)
    };
    world.tenant.issue_ticket(again, late, None, silent).await.unwrap();
    let refused = store.redeem_ticket(late, None, later(30_000), silent).await.unwrap();
    assert_eq!(refused, Redemption::Unknown, "of one that ran out nobody hears that it is bound");
}

async fn a_voided_ticket_is_refused(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (revoked, session) = world.ticket(ann, web).await;
    assert_eq!(world.tenant.revoke_tickets_of(session, NOW, silent).await.unwrap(), 1);
    assert_eq!(redeem(&world.store, revoked).await, None, "revoked");
    let (ended, session) = world.ticket(ann, web).await;
    let reason = EndReason::Because(Code::SessionClosed);
    let bytes = SessionBytes::default();
    world.tenant.end_session(session, reason, NOW, bytes, silent).await.unwrap();
    assert_eq!(redeem(&world.store, ended).await, None, "its session ended");
    let (orphaned, _) = world.ticket(ann, web).await;
    world.tenant.deactivate_principal(ann, NOW, silent).await.unwrap();
    assert_eq!(redeem(&world.store, orphaned).await, None, "its principal is gone");
    let bob = world.user("bob").await;
    let (stranded, _) = world.ticket(bob, web).await;
    world.tenant.remove_machine(web, NOW, silent).await.unwrap();
    assert_eq!(redeem(&world.store, stranded).await, None, "its machine is gone");
}

async fn a_ticket_needs_its_session(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let nowhere = ticket(&world.tenant, ann, web, SessionId(Uuid::now_v7()));
    let refused =
        world.tenant.issue_ticket(nowhere, some_hash(), None, told("ticket.issued")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::Refers))));
    let (hash, session) = (some_hash(), SessionId(Uuid::now_v7()));
    let reserve = || Some(new_session(session, ann, web));
    let ours = || ticket(&world.tenant, ann, web, session);
    world.tenant.issue_ticket(ours(), hash, reserve(), silent).await.unwrap();
    let twice = world.tenant.issue_ticket(ours(), some_hash(), reserve(), silent).await;
    assert!(matches!(twice, Err(StoreError::Conflict(Conflict::Exists))));
    assert_eq!(world.verified().await, [""; 0]);
}

async fn tickets_are_forgotten_and_unused_sessions_end(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (_, unused) = world.ticket(ann, web).await;
    let (_, opened) = (0, world.session(ann, web, NOW).await);
    let early = world.store.forget_tickets(NOW, later(29_999)).await.unwrap();
    assert_eq!((early.tickets, early.sessions.len()), (0, 0));
    let late = world.store.forget_tickets(later(30_001), later(30_001)).await.unwrap();
    assert_eq!(late.sessions, [(world.tenant.id(), unused)]);
    assert_eq!(late.tickets, 2);
    let unused = world.tenant.find_session(unused).await.unwrap().unwrap();
    assert_eq!(unused.reason, Some(EndReason::Because(Code::SessionUnused)));
    let opened = world.tenant.find_session(opened).await.unwrap().unwrap();
    assert_eq!(opened.state, State::Opening);
}

async fn an_epoch_takes_back_what_any_tenant_was_handed_out(world: World) {
    // R18
    let other = world.other_tenant().await;
    for tenant in [&world.tenant, &other] {
        let (ann, web) =
            (user_of(tenant, "ann").await, machine_of(&world.store, tenant, "web").await);
        let (ticket_hash, session) = (some_hash(), SessionId(Uuid::now_v7()));
        let new = ticket(tenant, ann, web, session);
        let reserved = new_session(session, ann, web);
        tenant.issue_ticket(new, ticket_hash, Some(reserved), silent).await.unwrap();
        let (token, enrolment) = (some_hash(), some_hash());
        let kind = CredentialKind::ApiToken;
        let (name, prefix) = ("laptop".to_owned(), "adt_abcd".to_owned());
        let id = TokenId(Uuid::now_v7());
        let new = NewCredential {
            id,
            principal: ann,
            kind,
            name,
            hash: token,
            prefix,
            expires_at: None,
            at: NOW,
        };
        tenant.issue_credential(new, silent).await.unwrap();
        tenant.issue_enrolment_token(enrolment_token(enrolment), silent).await.unwrap();
        let found = async || world.store.find_credential(kind, token, NOW).await.unwrap();
        assert!(found().await.is_some());

        world.store.begin_epoch(NOW, told("gateway.restored")).await.unwrap();
        assert!(found().await.is_none());
        assert_eq!(redeem(&world.store, ticket_hash).await, None);
        let joined = world.store.enrol_machine(enrolment, new_machine("late"), silent).await;
        assert_eq!(joined.unwrap(), None);
    }
    assert!(world.verified().await.contains(&"gateway.restored".to_owned()));
}
