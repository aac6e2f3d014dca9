use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::policy::{Attended, Circumstances, Conditions, Facts, Matcher, authorize};
use crate::{Capabilities, GrantId, MachineId, Principal, PrincipalId, TenantId, Timestamp};

const NOW: Timestamp = Timestamp(1_000_000);
const TENANT: TenantId = TenantId(Uuid::from_u128(1));

fn machine() -> MachineTarget {
    MachineTarget {
        id: MachineId(Uuid::from_u128(2)),
        tenant: TENANT,
        active: true,
        label: "web-1".parse().unwrap(),
        tags: Arc::new(BTreeMap::new()),
        team: None,
        attended: None,
    }
}

fn scopes(names: &[&str]) -> Vec<NeededScope> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn job(names: &[&str]) -> Target {
    let job = JobTarget { machine: machine(), on: Selection::All, scopes: scopes(names) };
    Target::Job(Box::new(job))
}

fn grant(capabilities: &[Capability], names: &[&str]) -> GrantFacts {
    GrantFacts {
        id: GrantId(Uuid::from_u128(3)),
        role: "r".to_owned(),
        capabilities: Capabilities::of(capabilities),
        scopes: Scopes::Listed(scopes(names).into_iter().collect()),
        on: Selection::All,
        expires_at: None,
        conditions: Conditions::default(),
        team: None,
    }
}

fn decide(grants: Vec<GrantFacts>, target: &Target) -> Result<(), Denial> {
    let principal = Principal {
        id: PrincipalId(Uuid::from_u128(4)),
        tenant: TENANT,
        name: "user:ann".parse().unwrap(),
    };
    let facts = Facts { principal, active: true, grants, circumstances: Circumstances::default() };
    authorize(&facts, Capabilities::of(&[Capability::JobRun]), target, NOW).map(drop)
}

#[test]
fn a_template_asks_for_every_one_of_its_scopes() {
    // CMD-1, JOB-15
    let one = grant(&[Capability::JobRun], &["read:files"]);
    let both = grant(&[Capability::JobRun], &["read:files", "read:logs"]);
    assert_eq!(decide(vec![one.clone()], &job(&["read:files"])), Ok(()));
    assert_eq!(
        decide(vec![one], &job(&["read:files", "read:logs"])),
        Err(Denial::TemplateScope(1))
    );
    assert_eq!(decide(vec![both], &job(&["read:files", "read:logs"])), Ok(()));
}

#[test]
fn two_roles_hold_scopes_together() {
    let (one, other) =
        (grant(&[Capability::JobRun], &["a:b"]), grant(&[Capability::JobRun], &["c:d"]));
    assert_eq!(decide(vec![one, other], &job(&["a:b", "c:d"])), Ok(()));
}

#[test]
fn a_scope_of_a_role_that_runs_nothing_does_not_count() {
    let runs = grant(&[Capability::JobRun], &[]);
    let holds = grant(&[Capability::MachineView], &["a:b"]);
    assert_eq!(decide(vec![runs, holds], &job(&["a:b"])), Err(Denial::TemplateScope(0)));
}

#[test]
fn a_scope_alone_runs_nothing() {
    let holds = grant(&[Capability::MachineView], &["a:b"]);
    assert_eq!(
        decide(vec![holds], &job(&["a:b"])),
        Err(Denial::CapabilityMissing(Capability::JobRun))
    );
}

#[test]
fn a_template_runs_where_it_is_meant_to() {
    let matcher = Matcher { label: Some("db-*".parse().unwrap()), ..Matcher::default() };
    let elsewhere = Target::Job(Box::new(JobTarget {
        machine: machine(),
        on: Selection::Matching(matcher),
        scopes: Vec::new(),
    }));
    let all = grant(&[Capability::JobRun], &[]);
    assert_eq!(decide(vec![all], &elsewhere), Err(Denial::NotItsTarget));
}

#[test]
fn a_machine_that_is_here_for_support_runs_no_template() {
    let attended = Attended { technician: PrincipalId(Uuid::from_u128(4)), consent: None };
    let target = Target::Job(Box::new(JobTarget {
        machine: MachineTarget { attended: Some(attended), ..machine() },
        on: Selection::All,
        scopes: Vec::new(),
    }));
    let all = grant(&[Capability::JobRun], &[]);
    assert_eq!(decide(vec![all], &target), Err(Denial::NoConsent));
}

#[test]
fn a_grant_on_other_machines_runs_nothing_here() {
    let mut elsewhere = grant(&[Capability::JobRun], &["a:b"]);
    elsewhere.on = Selection::Machines(vec![MachineId(Uuid::from_u128(9))]);
    assert_eq!(decide(vec![elsewhere], &job(&["a:b"])), Err(Denial::NoGrant));
}
