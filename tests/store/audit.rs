use std::collections::BTreeMap;

use adit_domain::policy::Selection;
use adit_store::{
    EventFilter, NewCheckpoint, NewEvent, Outcome, Paging, Party, StoreError, silent,
};
use adit_wire::audit::{ChainVerifier, Flaw};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::on_both;
use super::world::{GATEWAY, NOW, World, event, later, new_grant, new_user, told};

on_both!(
    a_change_and_its_event_are_there_together_or_not_at_all,
    events_of_many_at_once_make_one_chain,
    a_chain_goes_on_where_it_ended,
    events_are_found_by_what_they_tell,
    events_are_listed_in_pages,
    a_row_that_was_changed_is_found,
    a_tail_that_was_cut_shows_in_the_gateways_row,
    checkpoints_are_numbered_without_a_gap,
    an_operation_that_panics_changes_nothing,
);

async fn a_change_and_its_event_are_there_together_or_not_at_all(world: World) {
    // N3
    let twin = event("user.added");
    let (first, second) = (twin.clone(), twin);
    let (ann, bob) = (new_user("ann"), new_user("bob"));
    world.tenant.create_principal(ann, move |()| vec![first]).await.unwrap();
    let twice = world.tenant.create_principal(bob.clone(), move |()| vec![second]).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "an event's id is there once");
    assert_eq!(world.tenant.find_principal(bob.id).await.unwrap(), None);
    assert_eq!(world.verified().await, ["user.added"]);
}

async fn events_of_many_at_once_make_one_chain(world: World) {
    // N3
    let ann = world.user("ann").await;
    let writers = (0..200).map(|number| {
        let tenant = world.tenant.clone();
        let good = number % 3 != 0;
        tokio::spawn(async move {
            let role = if good { "viewer" } else { "king" };
            let grant = new_grant(ann, role, Selection::All);
            assert_eq!(tenant.add_grant(grant, told("grant.added")).await.is_ok(), good);
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    assert_eq!(world.verified().await.len(), 133);
}

async fn a_chain_goes_on_where_it_ended(world: World) {
    world.tenant.append_events(vec![event("a"), event("b")]).await.unwrap();
    let world = world.reopen().await;
    world.tenant.append_events(vec![event("c")]).await.unwrap();
    assert_eq!(world.verified().await, ["a", "b", "c"]);
}

/// Makes an event that tells more.
fn telling(name: &str, actor: &str, target: &str, outcome: Outcome, at: u64) -> NewEvent {
    let party = |kind: &str, name: &str| Party {
        kind: kind.to_owned(),
        id: format!("{name}-id"),
        name: name.to_owned(),
    };
    NewEvent {
        actor: party("user", actor),
        target: Some(party("machine", target)),
        outcome,
        at: later(at),
        details: BTreeMap::from([("from".to_owned(), json!("50%_Off\u{1b}[31m"))]),
        ..event(name)
    }
}

async fn events_are_found_by_what_they_tell(world: World) {
    let events = vec![
        telling("ticket.issued", "ann", "web", Outcome::Ok, 1),
        telling("ticket.issued", "bob", "web", Outcome::Denied, 2),
        telling("session.ended", "ann", "db", Outcome::Failed, 3),
    ];
    world.tenant.append_events(events).await.unwrap();
    let list = async |filter: EventFilter| -> Vec<u64> {
        let page = world.tenant.list_events(&filter, &Paging::first(10)).await.unwrap();
        page.items.iter().map(|stored| stored.record.seq).collect()
    };
    let all = EventFilter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(list(all()).await, [3, 2, 1]);
    assert_eq!(list(EventFilter { event: text("ticket.issued"), ..all() }).await, [2, 1]);
    assert_eq!(list(EventFilter { actor: text("ann"), ..all() }).await, [3, 1]);
    assert_eq!(list(EventFilter { actor: text("bob-id"), ..all() }).await, [2]);
    assert_eq!(list(EventFilter { target: text("db"), ..all() }).await, [3]);
    assert_eq!(list(EventFilter { outcome: Some(Outcome::Denied), ..all() }).await, [2]);
    assert_eq!(list(EventFilter { from: Some(later(2)), ..all() }).await, [3, 2]);
    assert_eq!(list(EventFilter { to: Some(later(2)), ..all() }).await, [1]);
    assert_eq!(list(EventFilter { q: text("SESSION.end"), ..all() }).await, [3]);
    assert_eq!(list(EventFilter { q: text("50%_off"), ..all() }).await, [3, 2, 1]);
    assert_eq!(list(EventFilter { q: text("50%off"), ..all() }).await, [0; 0]);
}

async fn events_are_listed_in_pages(world: World) {
    let events = (0..25).map(|number| NewEvent { at: later(number / 4), ..event("e") }).collect();
    world.tenant.append_events(events).await.unwrap();
    let (mut seen, mut paging) = (Vec::new(), Paging::first(10));
    loop {
        let page = world.tenant.list_events(&EventFilter::default(), &paging).await.unwrap();
        seen.extend(page.items.iter().map(|stored| stored.record.seq));
        paging.cursor = page.next;
        if paging.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<u64>>());
    paging.cursor = Some("0".repeat(65).parse().unwrap());
    let foreign = world.tenant.list_events(&EventFilter::default(), &paging).await;
    assert!(matches!(foreign, Err(StoreError::BadCursor)));
}

async fn a_row_that_was_changed_is_found(world: World) {
    // AUD-01
    let events = (1..=5).map(|_| event("e")).collect();
    world.tenant.append_events(events).await.unwrap();
    world.database.tamper("UPDATE audit_events SET actor_name = 'eve' WHERE seq = 2");
    let sql = "UPDATE audit_events SET body = replace(body, 'ann', 'eve') WHERE seq = 4";
    world.database.tamper(sql);
    let chain = world.store.read_chain(GATEWAY, 0, 10).await.unwrap();
    let agree: Vec<bool> = chain.iter().map(|stored| stored.columns_agree).collect();
    assert_eq!(agree, [true, false, true, false, true]);
    let mut verifier = ChainVerifier::new(GATEWAY);
    let bad = chain.iter().find_map(|stored| verifier.check(&stored.record).err()).unwrap();
    assert_eq!((bad.seq, bad.flaw), (4, Flaw::Hash));
    world.database.tamper("DELETE FROM audit_events WHERE seq = 3");
    let chain = world.store.read_chain(GATEWAY, 0, 10).await.unwrap();
    let mut verifier = ChainVerifier::new(GATEWAY);
    let bad = chain.iter().find_map(|stored| verifier.check(&stored.record).err()).unwrap();
    assert_eq!((bad.seq, bad.flaw), (3, Flaw::Missing));
}

async fn a_tail_that_was_cut_shows_in_the_gateways_row(world: World) {
    // AUD-02
    let events = (1..=5).map(|_| event("e")).collect();
    world.tenant.append_events(events).await.unwrap();
    world.database.tamper("DELETE FROM audit_events WHERE seq > 3");
    let world = world.reopen().await;
    world.tenant.append_events(vec![event("after")]).await.unwrap();
    let chain = world.store.read_chain(GATEWAY, 0, 10).await.unwrap();
    let seqs: Vec<u64> = chain.iter().map(|stored| stored.record.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 6], "the numbers of what was cut are not used again");
}

async fn checkpoints_are_numbered_without_a_gap(world: World) {
    assert_eq!(world.store.find_last_checkpoint().await.unwrap(), None);
    for number in 1..=3 {
        let (body, signature) = (vec![number], vec![0xff, number]);
        let new = NewCheckpoint { id: Uuid::now_v7(), at: NOW, body, signature };
        assert_eq!(world.store.add_checkpoint(new).await.unwrap(), u64::from(number));
    }
    let after = world.store.list_checkpoints(1, 10).await.unwrap();
    assert_eq!(after.iter().map(|c| (c.number, c.body[0])).collect::<Vec<_>>(), [(2, 2), (3, 3)]);
    assert_eq!(world.store.find_last_checkpoint().await.unwrap().as_ref(), after.last());
}

async fn an_operation_that_panics_changes_nothing(world: World) {
    let new = new_user("ann");
    let id = new.id;
    let outcome = world.tenant.create_principal(new, |()| panic!("a defect")).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt(_))));
    assert_eq!(world.tenant.find_principal(id).await.unwrap(), None);
    world.tenant.create_principal(new_user("bob"), silent).await.unwrap();
}
