use uuid::Uuid;

use std::time::Duration;

use super::selection::Matcher;
use super::*;
use crate::role::BuiltInRole;
use crate::{PrincipalId, PrincipalName};

const NOW: Timestamp = Timestamp(1_000_000);
const WEB: MachineId = MachineId(Uuid::from_u128(1));
const DB: MachineId = MachineId(Uuid::from_u128(2));

fn machine(id: MachineId) -> Target {
    Target::Machine(plain(id))
}

fn plain(id: MachineId) -> MachineTarget {
    MachineTarget {
        id,
        tenant: TenantId::SEED,
        active: true,
        label: format!("m-{}", id.0.as_u128()).parse().unwrap(),
        tags: Arc::default(),
        team: None,
        attended: None,
    }
}

fn facts(grants: Vec<GrantFacts>) -> Facts {
    let name: PrincipalName = "user:bob".parse().unwrap();
    let principal = Principal { id: PrincipalId(Uuid::from_u128(9)), tenant: TenantId::SEED, name };
    Facts { principal, active: true, grants, circumstances: Circumstances::default() }
}

fn grant(role: BuiltInRole, on: Selection, expires_at: Option<Timestamp>) -> GrantFacts {
    GrantFacts {
        id: GrantId(Uuid::from_u128(7)),
        role: role.as_str().to_owned(),
        capabilities: role.capabilities(),
        scopes: Scopes::default(),
        on,
        expires_at,
        conditions: Conditions::default(),
        team: None,
    }
}

const TYPE: Capabilities = Capabilities::of(&[Capability::TerminalInput]);
const WATCH: Capabilities = Capabilities::of(&[Capability::TerminalView]);

#[test]
fn a_viewer_watches_and_does_not_type() {
    // SES-12
    let facts = facts(vec![grant(BuiltInRole::Viewer, Selection::Machines(vec![WEB]), None)]);
    assert!(authorize(&facts, WATCH, &machine(WEB), NOW).is_ok());
    assert_eq!(
        authorize(&facts, TYPE, &machine(WEB), NOW),
        Err(Denial::CapabilityMissing(Capability::TerminalInput))
    );
}

#[test]
fn a_grant_covers_only_its_machines() {
    // SES-11
    let facts = facts(vec![grant(BuiltInRole::Operator, Selection::Machines(vec![WEB]), None)]);
    assert!(authorize(&facts, TYPE, &machine(WEB), NOW).is_ok());
    assert_eq!(authorize(&facts, TYPE, &machine(DB), NOW), Err(Denial::NoGrant));
    assert_eq!(authorize(&facts, TYPE, &Target::Tenant(TenantId::SEED), NOW), Err(Denial::NoGrant));
}

#[test]
fn an_expired_grant_gives_nothing() {
    let facts = facts(vec![grant(BuiltInRole::Operator, Selection::All, Some(NOW))]);
    assert_eq!(authorize(&facts, TYPE, &machine(WEB), NOW), Err(Denial::GrantExpired));
    let permit = authorize(&facts, TYPE, &machine(WEB), Timestamp(NOW.0 - 1)).unwrap();
    assert_eq!(permit.until(), Some(NOW));
}

#[test]
fn an_inactive_principal_may_nothing() {
    // SES-11
    let mut facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    facts.active = false;
    assert_eq!(authorize(&facts, WATCH, &machine(WEB), NOW), Err(Denial::PrincipalInactive));
}

#[test]
fn another_tenants_machine_does_not_exist() {
    // DESK-7
    let facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    let tenant = TenantId(Uuid::from_u128(5));
    let other = Target::Machine(MachineTarget { tenant, ..plain(WEB) });
    assert_eq!(authorize(&facts, WATCH, &other, NOW), Err(Denial::OtherTenant));
}

#[test]
fn the_gateway_itself_is_for_the_first_tenant() {
    // DESK-7
    let mut facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    let wanted = Capabilities::of(&[Capability::TenantManage]);
    assert!(authorize(&facts, wanted, &Target::Gateway, NOW).is_ok());
    facts.principal.tenant = TenantId(Uuid::from_u128(5));
    assert_eq!(authorize(&facts, wanted, &Target::Gateway, NOW), Err(Denial::OtherTenant));
}

#[test]
fn a_removed_machine_is_closed_to_all() {
    let facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    let gone = Target::Machine(MachineTarget { active: false, ..plain(WEB) });
    assert_eq!(authorize(&facts, WATCH, &gone, NOW), Err(Denial::TargetInactive));
}

#[test]
fn rights_of_several_grants_add_up() {
    let facts = facts(vec![
        grant(BuiltInRole::Auditor, Selection::All, None),
        grant(BuiltInRole::Viewer, Selection::Machines(vec![WEB]), None),
    ]);
    let both = Capabilities::of(&[Capability::AuditRead, Capability::TerminalView]);
    assert!(authorize(&facts, both, &machine(WEB), NOW).is_ok());
    assert!(authorize(&facts, both, &machine(DB), NOW).is_err());
}

#[test]
fn a_credential_opens_no_more_than_its_scopes() {
    let mut facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    facts.circumstances.limit = Some(WATCH);
    assert!(authorize(&facts, WATCH, &machine(WEB), NOW).is_ok());
    assert_eq!(
        authorize(&facts, TYPE, &machine(WEB), NOW),
        Err(Denial::ScopeMissing(Capability::TerminalInput))
    );
}

fn with(conditions: Conditions) -> GrantFacts {
    GrantFacts { conditions, ..grant(BuiltInRole::Operator, Selection::All, None) }
}

#[test]
fn a_condition_that_does_not_hold_is_the_answer() {
    let fresh =
        Conditions { second_factor_within: Some(Duration::from_secs(60)), ..Conditions::default() };
    let facts = facts(vec![with(fresh)]);
    assert_eq!(
        authorize(&facts, TYPE, &machine(WEB), NOW),
        Err(Denial::Condition(Unmet::SecondFactor))
    );
}

#[test]
fn a_condition_hides_nothing_that_another_grant_gives() {
    let approval = Conditions { approval: true, ..Conditions::default() };
    let facts = facts(vec![with(approval), grant(BuiltInRole::Viewer, Selection::All, None)]);
    assert!(authorize(&facts, WATCH, &machine(WEB), NOW).is_ok());
    assert_eq!(
        authorize(&facts, TYPE, &machine(WEB), NOW),
        Err(Denial::Condition(Unmet::Approval))
    );
    let audit = Capabilities::of(&[Capability::AuditRead]);
    assert_eq!(
        authorize(&facts, audit, &machine(WEB), NOW),
        Err(Denial::CapabilityMissing(Capability::AuditRead))
    );
}

#[test]
fn a_permit_ends_with_the_hours() {
    let hours = "daily 00:00-01:00".parse().unwrap();
    let facts = facts(vec![with(Conditions { hours: Some(hours), ..Conditions::default() })]);
    let permit = authorize(&facts, TYPE, &machine(WEB), NOW).unwrap();
    assert_eq!(permit.until(), Some(Timestamp(3_600_000)));
}

#[test]
fn a_grant_on_tags_covers_what_has_them_all() {
    let tags = vec![("env".to_owned(), "prod".to_owned()), ("tier".to_owned(), "web".to_owned())];
    let on = Selection::Matching(Matcher { tags, ..Matcher::default() });
    let facts = facts(vec![grant(BuiltInRole::Operator, on, None)]);
    let tagged = |pairs: &[(&str, &str)]| {
        let tags = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Target::Machine(MachineTarget { tags: Arc::new(tags), ..plain(WEB) })
    };
    assert!(authorize(&facts, TYPE, &tagged(&[("env", "prod"), ("tier", "web")]), NOW).is_ok());
    assert_eq!(authorize(&facts, TYPE, &tagged(&[("env", "prod")]), NOW), Err(Denial::NoGrant));
    let tenant = Target::Tenant(TenantId::SEED);
    assert_eq!(authorize(&facts, TYPE, &tenant, NOW), Err(Denial::NoGrant));
}

#[test]
fn a_grant_on_a_team_covers_its_machines() {
    // TERM-22
    let team = TeamId(Uuid::from_u128(4));
    let on =
        Selection::Matching(Matcher { team: Some((team, "eng".to_owned())), ..Matcher::default() });
    let facts = facts(vec![grant(BuiltInRole::Operator, on, None)]);
    let theirs = Target::Machine(MachineTarget { team: Some(team), ..plain(WEB) });
    assert!(authorize(&facts, TYPE, &theirs, NOW).is_ok());
    assert_eq!(authorize(&facts, TYPE, &machine(WEB), NOW), Err(Denial::NoGrant));
}

#[test]
fn what_each_role_allows_is_as_reviewed() {
    let mut table = String::from("capability");
    for role in BuiltInRole::ALL {
        table.push_str(&format!(" | {}", role.as_str()));
    }
    for kind in ["machine", "tenant", "gateway"] {
        for capability in Capability::ALL {
            table.push_str(&format!("\n{kind} {capability}"));
            for role in BuiltInRole::ALL {
                let facts = facts(vec![grant(*role, Selection::All, None)]);
                let target = match kind {
                    "machine" => machine(WEB),
                    "gateway" => Target::Gateway,
                    _ => Target::Tenant(TenantId::SEED),
                };
                let wanted = Capabilities::of(&[*capability]);
                let yes = authorize(&facts, wanted, &target, NOW).is_ok();
                table.push_str(if yes { " | yes" } else { " | -" });
            }
        }
    }
    insta::assert_snapshot!(table);
}
