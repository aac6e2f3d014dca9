use adit_domain::policy::Selection;
use adit_domain::{GrantId, MachineId, PrincipalId};
use adit_store::{Conflict, Holder, Paging, StoreError, silent};
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, machine_of, new_grant, told, verified};

on_both!(
    a_grant_is_listed_as_it_was_given,
    a_grant_is_taken_away_once,
    a_grant_refers_to_what_is_there,
    grants_are_listed_in_pages,
);

async fn a_grant_is_listed_as_it_was_given(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let (web, db) = (world.machine("web").await, world.machine("db").await);
    let some = new_grant(ann, "viewer", Selection::Machines(vec![web, db]));
    world.tenant.add_grant(some.clone(), silent).await.unwrap();
    world.tenant.add_grant(new_grant(bob, "admin", Selection::All), silent).await.unwrap();
    let of_ann =
        world.tenant.list_grants(Some(Holder::Principal(ann)), &Paging::first(10)).await.unwrap();
    assert_eq!(of_ann.items.len(), 1);
    assert_eq!(of_ann.items[0].holder.to_string(), "user:ann");
    assert_eq!(of_ann.items[0].machine_labels, ["db", "web"]);
    assert_eq!(of_ann.items[0].on, Selection::Machines(vec![db, web]));
    assert_eq!(world.tenant.find_grant(some.id).await.unwrap().as_ref(), of_ann.items.first());
    assert_eq!(world.tenant.list_grants(None, &Paging::first(10)).await.unwrap().items.len(), 2);
}

async fn a_grant_is_taken_away_once(world: World) {
    let ann = world.user("ann").await;
    let grant = new_grant(ann, "viewer", Selection::All);
    world.tenant.add_grant(grant.clone(), told("grant.added")).await.unwrap();
    let first = world.tenant.remove_grant(grant.id, NOW, told("grant.removed")).await.unwrap();
    let second = world.tenant.remove_grant(grant.id, NOW, silent).await.unwrap();
    assert_eq!(first.map(|grant| grant.role).as_deref(), Some("viewer"));
    assert_eq!(second, None);
    assert_eq!(verified(&world.store).await, ["grant.added", "grant.removed"]);
}

async fn a_grant_refers_to_what_is_there(world: World) {
    let ann = world.user("ann").await;
    let other = world.other_tenant().await;
    let theirs = machine_of(&world.store, &other, "theirs").await;
    let gone = world.user("gone").await;
    world.tenant.deactivate_principal(gone, NOW, silent).await.unwrap();
    for refused in [
        new_grant(PrincipalId(Uuid::nil()), "viewer", Selection::All),
        new_grant(gone, "viewer", Selection::All),
        new_grant(ann, "king", Selection::All),
        new_grant(ann, "viewer", Selection::Machines(vec![MachineId(Uuid::nil())])),
        new_grant(ann, "viewer", Selection::Machines(vec![theirs])),
    ] {
        let outcome = world.tenant.add_grant(refused.clone(), told("grant.added")).await;
        let refers = matches!(outcome, Err(StoreError::Conflict(Conflict::Refers)));
        assert!(refers, "{refused:?}: {outcome:?}");
    }
    assert_eq!(world.tenant.list_grants(None, &Paging::first(10)).await.unwrap().items, []);
    assert_eq!(verified(&world.store).await, [""; 0]);
}

async fn grants_are_listed_in_pages(world: World) {
    let ann = world.user("ann").await;
    let machines = [world.machine("a").await, world.machine("b").await, world.machine("c").await];
    let mut given: Vec<GrantId> = Vec::new();
    for _ in 0..5 {
        let grant = new_grant(ann, "viewer", Selection::Machines(machines.to_vec()));
        given.push(grant.id);
        world.tenant.add_grant(grant, silent).await.unwrap();
    }
    let first = world.tenant.list_grants(None, &Paging::first(3)).await.unwrap();
    let rest = Paging { cursor: first.next, limit: 3 };
    let second = world.tenant.list_grants(None, &rest).await.unwrap();
    let listed: Vec<GrantId> = first.items.iter().chain(&second.items).map(|g| g.id).collect();
    given.sort();
    assert_eq!((first.items.len(), second.next), (3, None));
    assert_eq!(listed, given);
}
