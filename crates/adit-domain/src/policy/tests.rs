use uuid::Uuid;

use super::*;
use crate::role::BuiltInRole;
use crate::{PrincipalId, PrincipalName};

const NOW: Timestamp = Timestamp(1_000_000);
const WEB: MachineId = MachineId(Uuid::from_u128(1));
const DB: MachineId = MachineId(Uuid::from_u128(2));

fn machine(id: MachineId) -> Target {
    Target::Machine { id, tenant: TenantId::SEED, active: true }
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
        on,
        expires_at,
    }
}

const TYPE: Capabilities = Capabilities::of(&[Capability::TerminalInput]);
const WATCH: Capabilities = Capabilities::of(&[Capability::TerminalView]);

#[test]
fn a_viewer_watches_and_does_not_type() {
    // SES-12
    let facts = facts(vec![grant(BuiltInRole::Viewer, Selection::Machines(vec![WEB]), None)]);
    assert!(authorize(&facts, WATCH, machine(WEB), NOW).is_ok());
    assert_eq!(
        authorize(&facts, TYPE, machine(WEB), NOW),
        Err(Denial::CapabilityMissing(Capability::TerminalInput))
    );
}

#[test]
fn a_grant_covers_only_its_machines() {
    // SES-11
    let facts = facts(vec![grant(BuiltInRole::Operator, Selection::Machines(vec![WEB]), None)]);
    assert!(authorize(&facts, TYPE, machine(WEB), NOW).is_ok());
    assert_eq!(authorize(&facts, TYPE, machine(DB), NOW), Err(Denial::NoGrant));
    assert_eq!(authorize(&facts, TYPE, Target::Tenant(TenantId::SEED), NOW), Err(Denial::NoGrant));
}

#[test]
fn an_expired_grant_gives_nothing() {
    let facts = facts(vec![grant(BuiltInRole::Operator, Selection::All, Some(NOW))]);
    assert_eq!(authorize(&facts, TYPE, machine(WEB), NOW), Err(Denial::GrantExpired));
    let permit = authorize(&facts, TYPE, machine(WEB), Timestamp(NOW.0 - 1)).unwrap();
    assert_eq!(permit.until(), Some(NOW));
}

#[test]
fn an_inactive_principal_may_nothing() {
    // SES-11
    let mut facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    facts.active = false;
    assert_eq!(authorize(&facts, WATCH, machine(WEB), NOW), Err(Denial::PrincipalInactive));
}

#[test]
fn another_tenants_machine_does_not_exist() {
    // DESK-7
    let facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    let other = Target::Machine { id: WEB, tenant: TenantId(Uuid::from_u128(5)), active: true };
    assert_eq!(authorize(&facts, WATCH, other, NOW), Err(Denial::OtherTenant));
}

#[test]
fn a_removed_machine_is_closed_to_all() {
    let facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    let gone = Target::Machine { id: WEB, tenant: TenantId::SEED, active: false };
    assert_eq!(authorize(&facts, WATCH, gone, NOW), Err(Denial::TargetInactive));
}

#[test]
fn rights_of_several_grants_add_up() {
    let facts = facts(vec![
        grant(BuiltInRole::Auditor, Selection::All, None),
        grant(BuiltInRole::Viewer, Selection::Machines(vec![WEB]), None),
    ]);
    let both = Capabilities::of(&[Capability::AuditRead, Capability::TerminalView]);
    assert!(authorize(&facts, both, machine(WEB), NOW).is_ok());
    assert!(authorize(&facts, both, machine(DB), NOW).is_err());
}

#[test]
fn a_credential_opens_no_more_than_its_scopes() {
    let mut facts = facts(vec![grant(BuiltInRole::Admin, Selection::All, None)]);
    facts.circumstances.limit = Some(WATCH);
    assert!(authorize(&facts, WATCH, machine(WEB), NOW).is_ok());
    assert_eq!(
        authorize(&facts, TYPE, machine(WEB), NOW),
        Err(Denial::ScopeMissing(Capability::TerminalInput))
    );
}
