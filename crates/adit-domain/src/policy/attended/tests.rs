use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::policy::{Circumstances, Conditions, GrantFacts, Scopes, Selection, authorize};
use crate::role::BuiltInRole;
use crate::support::Access;
use crate::{GrantId, MachineId, Principal, PrincipalName, TenantId};

const NOW: Timestamp = Timestamp(1_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const ANN: PrincipalId = PrincipalId(Uuid::from_u128(9));
const EVE: PrincipalId = PrincipalId(Uuid::from_u128(10));

fn facts(id: PrincipalId, role: BuiltInRole) -> Facts {
    let name: PrincipalName = "user:ann".parse().unwrap();
    let grant = GrantFacts {
        id: GrantId(Uuid::from_u128(7)),
        role: role.as_str().to_owned(),
        capabilities: role.capabilities(),
        scopes: Scopes::default(),
        on: Selection::All,
        expires_at: None,
        conditions: Conditions::default(),
        team: None,
    };
    Facts {
        principal: Principal { id, tenant: TenantId::SEED, name },
        active: true,
        grants: vec![grant],
        circumstances: Circumstances::default(),
    }
}

fn machine(consent: Option<Access>) -> Target {
    let consent =
        consent.map(|access| Consent { allows: access.capabilities(), until: NOW + HOUR });
    Target::Machine(MachineTarget {
        id: MachineId(Uuid::from_u128(1)),
        tenant: TenantId::SEED,
        active: true,
        label: "support-laptop".parse().unwrap(),
        tags: Arc::default(),
        team: None,
        attended: Some(Attended { technician: ANN, consent }),
    })
}

const TYPE: Capabilities = Capabilities::of(&[Capability::TerminalInput]);
const WATCH: Capabilities = Capabilities::of(&[Capability::TerminalView]);

#[test]
fn nobody_may_anything_in_a_terminal_before_its_person_agreed() {
    // DESK-20, P10
    for role in BuiltInRole::ALL {
        for wanted in Capability::ALL.iter().filter(|one| one.is_terminal()) {
            let wanted = Capabilities::of(&[*wanted]);
            let decided = authorize(&facts(ANN, *role), wanted, &machine(None), NOW);
            assert_eq!(decided, Err(Denial::NoConsent));
        }
    }
}

#[test]
fn consent_is_for_the_technician_who_asked_and_for_what_was_asked() {
    // DESK-20
    let technician = facts(ANN, BuiltInRole::Operator);
    let permit = authorize(&technician, TYPE, &machine(Some(Access::Control)), NOW).unwrap();
    assert_eq!((permit.capabilities(), permit.until()), (TYPE, Some(NOW + HOUR)));
    let viewing = &machine(Some(Access::View));
    assert!(authorize(&technician, WATCH, viewing, NOW).is_ok());
    assert_eq!(authorize(&technician, TYPE, viewing, NOW), Err(Denial::NoConsent));
    let other = facts(EVE, BuiltInRole::Admin);
    let decided = authorize(&other, WATCH, &machine(Some(Access::Control)), NOW);
    assert_eq!(decided, Err(Denial::NoConsent));
}

#[test]
fn consent_ends() {
    // DESK-20
    let technician = facts(ANN, BuiltInRole::Operator);
    let decided = authorize(&technician, TYPE, &machine(Some(Access::Control)), NOW + HOUR);
    assert_eq!(decided, Err(Denial::NoConsent));
}

#[test]
fn consent_is_nothing_without_the_right_to_offer_support() {
    let viewer = facts(ANN, BuiltInRole::Viewer);
    let decided = authorize(&viewer, WATCH, &machine(Some(Access::Control)), NOW);
    assert_eq!(decided, Err(Denial::CapabilityMissing(Capability::SupportOffer)));
}

#[test]
fn everything_but_the_terminal_is_decided_by_grants() {
    let end = Capabilities::of(&[Capability::SessionEnd]);
    let other = facts(EVE, BuiltInRole::Operator);
    assert!(authorize(&other, end, &machine(None), NOW).is_ok());
    let technician = facts(ANN, BuiltInRole::Operator);
    let both = TYPE.or(end);
    let permit = authorize(&technician, both, &machine(Some(Access::Control)), NOW).unwrap();
    assert_eq!((permit.capabilities(), permit.grants().len()), (both, 1));
}
