use std::collections::{BTreeMap, HashSet};

use adit_domain::MachineLabel;
use adit_store::{
    Conflict, MachineFacts, NewEnrolmentToken, NewMachine, Paging, SecretHash, StoreError, silent,
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, enrolment_token, later, new_key, new_machine, some_hash, told};

on_both!(
    an_enrolment_token_lets_one_machine_in,
    a_token_for_five_lets_five_in,
    a_token_that_was_taken_back_lets_nobody_in,
    a_pattern_of_labels_is_kept_to,
    a_token_that_replaces_gives_the_machine_new_keys,
    a_late_or_unknown_enrolment_token_lets_nobody_in,
    machines_of_one_name_get_labels_of_their_own,
    a_tokens_label_is_given_or_the_token_kept,
    a_link_key_belongs_to_one_live_machine,
    a_machines_key_finds_it_until_it_is_taken_away,
    a_machine_is_noted_when_it_is_heard_of,
    machines_are_listed_in_pages,
);

async fn token(world: &World, label: Option<&str>) -> SecretHash {
    let hash = some_hash();
    let label = label.map(|label| label.parse().unwrap());
    let new = NewEnrolmentToken { label, ..enrolment_token(hash) };
    world.tenant.issue_enrolment_token(new, silent).await.unwrap();
    hash
}

async fn an_enrolment_token_lets_one_machine_in(world: World) {
    let token = token(&world, None).await;
    let attempts = (0..50).map(|_| {
        let store = world.store.clone();
        let new = new_machine("web");
        tokio::spawn(async move { store.enrol_machine(token, new, told("enrol")).await.unwrap() })
    });
    let outcomes = join_all(attempts).await;
    assert_eq!(outcomes.into_iter().filter(|o| o.as_ref().unwrap().is_some()).count(), 1);
    assert_eq!(world.tenant.list_machines(&Paging::first(10)).await.unwrap().items.len(), 1);
    assert_eq!(world.verified().await.len(), 50);
}

async fn a_token_for_five_lets_five_in(world: World) {
    let hash = some_hash();
    let tags = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
    let token = NewEnrolmentToken { uses: 5, tags: tags.clone(), ..enrolment_token(hash) };
    world.tenant.issue_enrolment_token(token, silent).await.unwrap();
    let attempts = (0..30).map(|_| {
        let store = world.store.clone();
        let new = new_machine("web");
        tokio::spawn(async move { store.enrol_machine(hash, new, silent).await.unwrap() })
    });
    let outcomes = join_all(attempts).await;
    let machines: Vec<_> = outcomes.into_iter().filter_map(|o| o.unwrap()).collect();
    assert_eq!(machines.len(), 5);
    assert!(machines.iter().all(|machine| *machine.tags == tags));
    let left = world.tenant.list_enrolment_tokens(NOW, &Paging::first(10)).await.unwrap();
    assert_eq!(left.items, [], "one that is used up is not listed");
}

async fn a_token_that_was_taken_back_lets_nobody_in(world: World) {
    let hash = token(&world, Some("db")).await;
    let listed = world.tenant.list_enrolment_tokens(NOW, &Paging::first(10)).await.unwrap();
    let [token] = &listed.items[..] else { panic!("{listed:?}") };
    assert_eq!((token.uses, token.used, token.prefix.as_str()), (1, 0, "aet_abcd"));
    assert!(world.tenant.revoke_enrolment_token(token.id, NOW, told("revoked")).await.unwrap());
    assert!(!world.tenant.revoke_enrolment_token(token.id, NOW, silent).await.unwrap());
    let refused = world.store.enrol_machine(hash, new_machine("db"), silent).await.unwrap();
    assert_eq!(refused, None);
}

async fn a_pattern_of_labels_is_kept_to(world: World) {
    let hash = some_hash();
    let label = Some("web-*".parse().unwrap());
    let token = NewEnrolmentToken { uses: 4, label, ..enrolment_token(hash) };
    world.tenant.issue_enrolment_token(token, silent).await.unwrap();
    let mut labels = Vec::new();
    for wished in ["web-eu", "db-1", "web-eu", "admin-1"] {
        let machine = world.store.enrol_machine(hash, new_machine(wished), silent).await.unwrap();
        labels.push(machine.unwrap().label.to_string());
    }
    assert_eq!(labels, ["web-eu", "web-1", "web-2", "web-3"]);
}

async fn a_token_that_replaces_gives_the_machine_new_keys(world: World) {
    // R38
    let first = new_machine("db");
    let (id, old_key) = (first.id, first.key.hash);
    let hash = token(&world, None).await;
    world.store.enrol_machine(hash, first, silent).await.unwrap().unwrap();
    let hash = some_hash();
    let label = Some("db".parse().unwrap());
    let token = NewEnrolmentToken { label, replaces: true, ..enrolment_token(hash) };
    world.tenant.issue_enrolment_token(token, silent).await.unwrap();
    let again = new_machine("anything");
    let (new_key, link_key) = (again.key.hash, again.link_key);
    let machine = world.store.enrol_machine(hash, again, told("enrol")).await.unwrap().unwrap();
    assert_eq!((machine.id, machine.label.as_str()), (id, "db"));
    assert_eq!(machine.link_key, link_key);
    assert_eq!(world.store.find_machine_key(old_key).await.unwrap(), None);
    let found = world.store.find_machine_key(new_key).await.unwrap().unwrap();
    assert_eq!(found.machine.id, id);
}

async fn a_late_or_unknown_enrolment_token_lets_nobody_in(world: World) {
    let token = token(&world, None).await;
    let late = NewMachine { at: later(1_000), ..new_machine("web") };
    assert_eq!(world.store.enrol_machine(token, late, silent).await.unwrap(), None);
    let unknown = world.store.enrol_machine(some_hash(), new_machine("web"), silent).await;
    assert_eq!(unknown.unwrap(), None);
}

async fn machines_of_one_name_get_labels_of_their_own(world: World) {
    let mut labels = Vec::new();
    for _ in 0..3 {
        let token = token(&world, None).await;
        let machine = world.store.enrol_machine(token, new_machine("web"), silent).await.unwrap();
        labels.push(machine.unwrap().label.to_string());
    }
    assert_eq!(labels, ["web", "web-2", "web-3"]);
}

async fn a_tokens_label_is_given_or_the_token_kept(world: World) {
    let (first, second) = (token(&world, Some("db")).await, token(&world, Some("db")).await);
    let machine = world.store.enrol_machine(first, new_machine("web"), silent).await.unwrap();
    let machine = machine.unwrap();
    assert_eq!(machine.label.as_str(), "db");
    let taken = world.store.enrol_machine(second, new_machine("web"), told("enrol")).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Conflict::LabelTaken))));
    world.tenant.remove_machine(machine.id, NOW, silent).await.unwrap();
    let again = world.store.enrol_machine(second, new_machine("web"), silent).await.unwrap();
    assert_eq!(again.unwrap().label.as_str(), "db");
}

async fn a_link_key_belongs_to_one_live_machine(world: World) {
    let (first, second) = (token(&world, None).await, token(&world, None).await);
    let one = new_machine("one");
    let other = NewMachine { link_key: one.link_key, ..new_machine("other") };
    world.store.enrol_machine(first, one, silent).await.unwrap().unwrap();
    let refused = world.store.enrol_machine(second, other, silent).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::Exists))));
}

async fn a_machines_key_finds_it_until_it_is_taken_away(world: World) {
    let token = token(&world, None).await;
    let new = new_machine("web");
    let (id, first, link_key) = (new.id, new.key.hash, new.link_key);
    world.store.enrol_machine(token, new, silent).await.unwrap();
    let found = world.store.find_machine_key(first).await.unwrap().unwrap();
    assert_eq!((found.machine.id, found.machine.link_key), (id, link_key));
    let key = new_key();
    let second = key.hash;
    let key_id = key.id;
    assert!(world.tenant.add_machine_key(id, key, NOW, silent).await.unwrap());
    assert!(world.store.find_machine_key(first).await.unwrap().is_some(), "until the first use");
    let used = |key| world.tenant.use_machine_key(id, key, NOW, silent);
    assert_eq!(used(key_id).await.unwrap(), Some(1));
    assert_eq!(used(key_id).await.unwrap(), None);
    assert_eq!(world.store.find_machine_key(first).await.unwrap(), None);
    assert!(world.store.find_machine_key(second).await.unwrap().is_some());
    let removed = world.tenant.remove_machine(id, NOW, told("machine.removed")).await.unwrap();
    assert_eq!(removed.unwrap().removed_at, Some(NOW));
    assert_eq!(world.store.find_machine_key(second).await.unwrap(), None);
    assert_eq!(world.tenant.remove_machine(id, NOW, silent).await.unwrap(), None);
    let label: MachineLabel = "web".parse().unwrap();
    assert_eq!(world.tenant.find_machine_labelled(&label).await.unwrap(), None);
    assert!(world.tenant.find_machine(id).await.unwrap().is_some());
    assert!(!world.tenant.add_machine_key(id, new_key(), NOW, silent).await.unwrap());
}

async fn a_machine_is_noted_when_it_is_heard_of(world: World) {
    let id = world.machine("web").await;
    let instance = Uuid::now_v7();
    let facts = MachineFacts {
        hostname: "web.example.org".to_owned(),
        os: "Debian 12".to_owned(),
        arch: "x86_64".to_owned(),
        version: "0.1.0".to_owned(),
        cores: 64,
        memory_bytes: 1 << 40,
    };
    let says = Some(facts.clone());
    world.tenant.touch_machine(id, later(5), Some(instance), says).await.unwrap();
    world.tenant.touch_machine(id, later(6), None, None).await.unwrap();
    let tags = BTreeMap::from([("env".to_owned(), "prod ✓".to_owned())]);
    assert!(world.tenant.describe_machine(id, &tags, None, silent).await.unwrap());
    let machine = world.tenant.find_machine(id).await.unwrap().unwrap();
    assert_eq!((machine.last_seen_at, machine.instance), (Some(later(6)), Some(instance)));
    assert_eq!((machine.facts, &*machine.tags), (facts, &tags));
}

async fn machines_are_listed_in_pages(world: World) {
    for number in 0..5 {
        world.machine(&format!("m{number}")).await;
    }
    let first = world.tenant.list_machines(&Paging::first(3)).await.unwrap();
    let rest = Paging { cursor: first.next, limit: 3 };
    let second = world.tenant.list_machines(&rest).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (3, 2, None));
    let ids: HashSet<_> = first.items.iter().chain(&second.items).map(|m| m.id).collect();
    assert_eq!(ids.len(), 5);
}
