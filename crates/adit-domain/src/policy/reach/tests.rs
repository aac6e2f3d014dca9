use super::*;
use crate::policy::{Circumstances, authorize};
use crate::reach::{End, Offer};
use crate::{CertificateName, Principal, PrincipalId, TenantId};

const NOW: Timestamp = Timestamp(10_000_000);

fn name(label: &str) -> CertificateName {
    CertificateName::Agent(label.parse().unwrap())
}

fn good() -> Reach {
    let end = |label| End { name: name(label), active: true, capable: true };
    let scope: crate::certificate::Carried = "shell:connect".parse().unwrap();
    let offer = Offer { owner: name("a"), scope: scope.clone(), heard_at: NOW, assigned: true };
    Reach { tenant: TenantId::SEED, scope, source: end("a"), target: end("b"), offer: Some(offer) }
}

fn decide(reach: Reach) -> Result<(), Denial> {
    let principal = Principal {
        id: PrincipalId(uuid::Uuid::nil()),
        tenant: TenantId::SEED,
        name: "machine:a".parse().unwrap(),
    };
    let facts = Facts {
        principal,
        active: true,
        grants: Vec::new(),
        circumstances: Circumstances::default(),
    };
    authorize(&facts, Capabilities::NONE, &Target::Reach(Box::new(reach)), NOW).map(drop)
}

#[test]
fn one_machine_reaches_another_while_all_six_hold() {
    // TIX-40
    assert_eq!(decide(good()), Ok(()));
}

#[test]
fn each_of_the_six_stands_against_it_by_itself() {
    // TIX-40, TKT-05
    type Spoil = fn(&mut Reach);
    let cases: [(Spoil, Unreachable); 12] = [
        (|r| r.source.active = false, Unreachable::SourceRevoked),
        (|r| r.source.capable = false, Unreachable::SourceIncapable),
        (|r| r.target.active = false, Unreachable::TargetRevoked),
        (|r| r.target.capable = false, Unreachable::TargetIncapable),
        (|r| r.offer = None, Unreachable::Gone),
        (|r| r.scope = "shell:other".parse().unwrap(), Unreachable::Gone),
        (|r| r.offer.as_mut().unwrap().owner = name("c"), Unreachable::NotOwner),
        (|r| r.target.name = name("a"), Unreachable::Itself),
        (|r| r.offer.as_mut().unwrap().assigned = false, Unreachable::Unassigned),
        (|r| r.offer.as_mut().unwrap().heard_at = Timestamp(NOW.0 - 300_001), Unreachable::Stale),
        (|r| r.offer.as_mut().unwrap().heard_at = Timestamp(NOW.0 - 3_600_001), Unreachable::Gone),
        (|r| r.source.name = name("b"), Unreachable::NotOwner),
    ];
    for (spoil, why) in cases {
        let mut reach = good();
        spoil(&mut reach);
        assert_eq!(decide(reach), Err(Denial::Unreachable(why)));
    }
}

#[test]
fn another_tenants_machines_are_not_there() {
    let reach = Reach { tenant: TenantId(uuid::Uuid::from_u128(7)), ..good() };
    assert_eq!(decide(reach), Err(Denial::OtherTenant));
}
