use std::collections::HashSet;

use adit_domain::policy::{Scopes, Selection, Target, authorize};
use adit_domain::{Capabilities, Capability, Denial, PrincipalId, RoleId};
use adit_store::{Conflict, FirstAdmin, NewGrant, NewPrincipal, Paging, Role, StoreError, silent};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, later, new_grant, new_user, told, user_name};

on_both!(
    a_principal_is_found_as_it_was_added,
    a_name_belongs_to_one_live_principal,
    a_removed_principal_may_do_nothing_and_frees_its_name,
    of_many_first_administrators_one_is_created,
    a_list_gives_everybody_once,
    facts_hold_every_grant_with_its_machines,
    facts_hold_what_a_role_of_the_tenants_own_allows,
    an_expired_grant_is_told_from_none,
    a_change_of_rights_moves_the_version,
);

async fn a_principal_is_found_as_it_was_added(world: World) {
    let id = world.user("ann").await;
    let by_id = world.tenant.find_principal(id).await.unwrap().unwrap();
    let by_name = world.tenant.find_principal_named(&user_name("ann")).await.unwrap().unwrap();
    assert_eq!(by_id, by_name);
    assert_eq!(by_id.email.as_deref(), Some("ann@example.org"));
    assert!(by_id.active);
    assert_eq!(world.tenant.find_principal(PrincipalId(Uuid::nil())).await.unwrap(), None);
}

async fn a_name_belongs_to_one_live_principal(world: World) {
    world.user("ann").await;
    let again = world.tenant.create_principal(new_user("ann"), told("user.added")).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::NameTaken))));
    assert_eq!(world.verified().await, [""; 0]);
}

async fn a_removed_principal_may_do_nothing_and_frees_its_name(world: World) {
    let id = world.user("ann").await;
    let admin = new_grant(id, "admin", Selection::All);
    world.tenant.add_grant(admin, silent).await.unwrap();
    let removed = world.tenant.deactivate_principal(id, NOW, told("user.removed")).await.unwrap();
    let again = world.tenant.deactivate_principal(id, NOW, silent).await.unwrap();
    assert_eq!((removed, again), (true, false));
    let facts = world.tenant.load_facts(id).await.unwrap().unwrap();
    let target = Target::Tenant(world.tenant.id());
    let asked = authorize(&facts, Capabilities::of(&[Capability::AuditRead]), &target, NOW);
    assert_eq!(asked, Err(Denial::PrincipalInactive));
    assert!(facts.grants.is_empty());
    assert_eq!(world.tenant.find_principal(id).await.unwrap(), None);
    world.user("ann").await;
}

/// Races `new_user`s with the administrator's role for the first place.
async fn of_many_first_administrators_one_is_created(world: World) {
    // BRW-40
    let try_one = |number: usize| {
        let new = new_user(&format!("root{number}"));
        let role: NewGrant = new_grant(new.id, "admin", Selection::All);
        let tenant = world.tenant.clone();
        async move { tenant.create_first_admin(new, role, told("user.first")).await.unwrap() }
    };
    let outcomes = join_all((0..10).map(try_one)).await;
    let created = outcomes.iter().filter(|o| **o == FirstAdmin::Created).count();
    assert_eq!(created, 1);
    let all = world.tenant.list_principals(&Paging::first(50)).await.unwrap();
    assert_eq!(all.items.len(), 1);
    let facts = world.tenant.load_facts(all.items[0].principal.id).await.unwrap().unwrap();
    assert_eq!(facts.grants[0].capabilities, Capabilities::all());
}

async fn a_list_gives_everybody_once(world: World) {
    for number in 0..25 {
        let mut new: NewPrincipal = new_user(&format!("user{number}"));
        new.at = later(number / 3);
        world.tenant.create_principal(new, silent).await.unwrap();
    }
    let (mut seen, mut paging) = (Vec::new(), Paging::first(7));
    loop {
        let page = world.tenant.list_principals(&paging).await.unwrap();
        assert!(page.items.len() <= 7);
        seen.extend(page.items.iter().map(|account| account.principal.id));
        paging.cursor = page.next;
        if paging.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 25);
}

async fn facts_hold_every_grant_with_its_machines(world: World) {
    let ann = world.user("ann").await;
    let (web, db) = (world.machine("web").await, world.machine("db").await);
    let some = new_grant(ann, "operator", Selection::Machines(vec![web, db]));
    world.tenant.add_grant(some.clone(), silent).await.unwrap();
    world.tenant.add_grant(new_grant(ann, "auditor", Selection::All), silent).await.unwrap();
    let facts = world.tenant.load_facts(ann).await.unwrap().unwrap();
    assert_eq!(facts.grants.len(), 2);
    let operator = facts.grants.iter().find(|grant| grant.id == some.id).unwrap();
    let Selection::Machines(machines) = &operator.on else { panic!("on all") };
    assert_eq!(machines.iter().collect::<HashSet<_>>(), HashSet::from([&web, &db]));
    world.tenant.remove_grant(some.id, NOW, silent).await.unwrap();
    let facts = world.tenant.load_facts(ann).await.unwrap().unwrap();
    assert_eq!(facts.grants.iter().map(|g| g.role.as_str()).collect::<Vec<_>>(), ["auditor"]);
}

async fn facts_hold_what_a_role_of_the_tenants_own_allows(world: World) {
    let ann = world.user("ann").await;
    let web = world.machine("web").await;
    let capabilities = Capabilities::of(&[Capability::TerminalView, Capability::AuditRead]);
    let scopes = Scopes::Listed(["read:files".parse().unwrap()].into());
    let role = Role { name: "watcher".to_owned(), capabilities, scopes: scopes.clone() };
    let id = RoleId(Uuid::now_v7());
    world.tenant.add_role(id, role.clone(), NOW, silent).await.unwrap();
    let grant = new_grant(ann, "watcher", Selection::Machines(vec![web]));
    world.tenant.add_grant(grant, silent).await.unwrap();
    let facts = world.tenant.load_facts(ann).await.unwrap().unwrap();
    assert_eq!(facts.grants[0].capabilities, capabilities);
    assert_eq!(facts.grants[0].on, Selection::Machines(vec![web]));
    assert_eq!(world.tenant.list_roles().await.unwrap().last(), Some(&role));
    let taken = Role { name: "admin".to_owned(), capabilities, scopes };
    let refused = world.tenant.add_role(RoleId(Uuid::now_v7()), taken, NOW, silent).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::NameTaken))));
}

async fn an_expired_grant_is_told_from_none(world: World) {
    let ann = world.user("ann").await;
    let grant = NewGrant { expires_at: Some(later(5)), ..new_grant(ann, "admin", Selection::All) };
    world.tenant.add_grant(grant, silent).await.unwrap();
    let facts = world.tenant.load_facts(ann).await.unwrap().unwrap();
    let target = Target::Tenant(world.tenant.id());
    let wanted = Capabilities::of(&[Capability::AuditRead]);
    assert!(authorize(&facts, wanted, &target, later(4)).is_ok());
    assert_eq!(authorize(&facts, wanted, &target, later(5)), Err(Denial::GrantExpired));
}

async fn a_change_of_rights_moves_the_version(world: World) {
    let seen = world.store.access_version();
    let (before, stored) = (*seen.borrow(), world.store.load_access_version().await.unwrap());
    let ann = world.user("ann").await;
    assert_eq!(*seen.borrow(), before);
    world.tenant.add_grant(new_grant(ann, "viewer", Selection::All), silent).await.unwrap();
    assert!(*seen.borrow() > before);
    assert!(world.store.load_access_version().await.unwrap() > stored);
}
