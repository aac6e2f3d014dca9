use adit_domain::policy::{Matcher, Selection};
use adit_domain::{Capabilities, Capability, MachineId, PrincipalId};
use adit_domain::{TeamId, authorize};
use adit_store::{Conflict, Holder, NewGrant, Paging, StoreError, silent};
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, later, new_grant, told, verified};

on_both!(
    a_member_holds_what_its_team_holds,
    a_team_that_goes_takes_its_roles_along,
    memberships_follow_their_source,
    a_team_is_of_one_tenant,
    a_machine_of_a_team_is_matched_by_it,
);

async fn team(world: &World, name: &str) -> TeamId {
    let id = TeamId(Uuid::now_v7());
    world.tenant.add_team(id, name, NOW, silent).await.unwrap();
    id
}

fn of_team(team: TeamId, role: &str, on: Selection) -> NewGrant {
    let holder = Holder::Team(team);
    NewGrant { holder, ..new_grant(PrincipalId(Uuid::nil()), role, on) }
}

async fn roles(world: &World, who: PrincipalId) -> Vec<(String, Option<String>)> {
    let facts = world.tenant.load_facts(who).await.unwrap().unwrap();
    let mut roles: Vec<_> = facts
        .grants
        .into_iter()
        .map(|grant| (grant.role, grant.team.map(|(_, name)| name)))
        .collect();
    roles.sort();
    roles
}

async fn a_member_holds_what_its_team_holds(world: World) {
    // TERM-22
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let eng = team(&world, "eng").await;
    world.tenant.add_grant(of_team(eng, "operator", Selection::All), silent).await.unwrap();
    world.tenant.add_grant(new_grant(ann, "auditor", Selection::All), silent).await.unwrap();
    assert!(world.tenant.add_member(eng, ann, NOW, told("team.join")).await.unwrap());
    assert!(!world.tenant.add_member(eng, ann, NOW, silent).await.unwrap());
    let own = ("auditor".to_owned(), None);
    let through = ("operator".to_owned(), Some("eng".to_owned()));
    assert_eq!(roles(&world, ann).await, [own.clone(), through]);
    assert_eq!(roles(&world, bob).await, []);
    let members = world.tenant.list_members(eng).await.unwrap();
    assert_eq!(members[0].principal.name.to_string(), "user:ann");
    assert!(world.tenant.remove_member(eng, ann, silent).await.unwrap());
    assert_eq!(roles(&world, ann).await, [own]);
    assert_eq!(verified(&world.store).await, ["team.join"]);
}

async fn a_team_that_goes_takes_its_roles_along(world: World) {
    let ann = world.user("ann").await;
    let eng = team(&world, "eng").await;
    let taken = world.tenant.add_team(TeamId(Uuid::now_v7()), "eng", NOW, silent).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Conflict::NameTaken))));
    world.tenant.add_grant(of_team(eng, "viewer", Selection::All), silent).await.unwrap();
    world.tenant.add_member(eng, ann, NOW, silent).await.unwrap();
    assert!(world.tenant.remove_team(eng, later(1), silent).await.unwrap());
    assert!(!world.tenant.remove_team(eng, later(1), silent).await.unwrap());
    assert_eq!(roles(&world, ann).await, []);
    assert_eq!(world.tenant.find_team_named("eng").await.unwrap(), None);
    team(&world, "eng").await;
    assert_eq!(roles(&world, ann).await, []);
}

async fn memberships_follow_their_source(world: World) {
    let ann = world.user("ann").await;
    let (eng, ops) = (team(&world, "eng").await, team(&world, "ops").await);
    let names = async || -> Vec<String> {
        let teams = world.tenant.list_teams_of(ann).await.unwrap();
        teams.into_iter().map(|team| team.name).collect()
    };
    world.tenant.add_member(ops, ann, NOW, silent).await.unwrap();
    let set = async |teams: Vec<TeamId>| {
        world.tenant.set_memberships(ann, "google", teams, NOW, silent).await.unwrap()
    };
    assert!(set(vec![eng, ops]).await);
    assert!(!set(vec![eng, ops]).await);
    assert_eq!(names().await, ["eng", "ops"]);
    assert!(set(vec![]).await);
    assert_eq!(names().await, ["ops"], "what people said stays");
    assert_eq!(world.tenant.list_teams(&Paging::first(10)).await.unwrap().items.len(), 2);
}

async fn a_team_is_of_one_tenant(world: World) {
    // DESK-7
    let ann = world.user("ann").await;
    let eng = team(&world, "eng").await;
    let other = world.other_tenant().await;
    assert_eq!(other.find_team_named("eng").await.unwrap(), None);
    assert!(!other.remove_team(eng, NOW, silent).await.unwrap());
    assert!(other.add_member(eng, ann, NOW, silent).await.is_err());
    assert_eq!(other.list_members(eng).await.unwrap(), []);
    let grant = of_team(eng, "admin", Selection::All);
    assert!(other.add_grant(grant, silent).await.is_err());
}

async fn a_machine_of_a_team_is_matched_by_it(world: World) {
    let ann = world.user("ann").await;
    let eng = team(&world, "eng").await;
    let web: MachineId = world.machine("web").await;
    let tags = [("env".to_owned(), "prod".to_owned())].into();
    assert!(world.tenant.describe_machine(web, &tags, Some(eng), silent).await.unwrap());
    let machine = world.tenant.find_machine(web).await.unwrap().unwrap();
    assert_eq!(machine.team, Some((eng, "eng".to_owned())));
    let matcher = Matcher {
        label: Some("w*".parse().unwrap()),
        tags: vec![("env".to_owned(), "prod".to_owned())],
        team: Some((eng, "eng".to_owned())),
        kind: None,
    };
    let grant = new_grant(ann, "operator", Selection::Matching(matcher.clone()));
    world.tenant.add_grant(grant.clone(), silent).await.unwrap();
    let listed = world.tenant.find_grant(grant.id).await.unwrap().unwrap();
    assert_eq!(listed.on, Selection::Matching(matcher));
    let facts = world.tenant.load_facts(ann).await.unwrap().unwrap();
    let target = target_of(&machine);
    let wanted = Capabilities::of(&[Capability::TerminalSpawn]);
    assert!(authorize(&facts, wanted, &target, NOW).is_ok());
}

fn target_of(machine: &adit_store::Machine) -> adit_domain::policy::Target {
    adit_domain::policy::Target::Machine(adit_domain::policy::MachineTarget {
        id: machine.id,
        tenant: machine.tenant,
        active: true,
        label: machine.label.clone(),
        tags: machine.tags.clone(),
        team: machine.team.as_ref().map(|(id, _)| *id),
        attended: None,
    })
}
