//! How long a decision takes beside how many grants: `cargo bench -p adit-domain`.

use std::hint::black_box;
use std::sync::Arc;

use adit_domain::policy::{
    Circumstances, Conditions, GrantFacts, MachineTarget, Scopes, Selection, Target,
};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Capabilities, Capability, Facts, GrantId, MachineId, Principal, PrincipalId, TenantId,
    Timestamp, authorize,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use uuid::Uuid;

/// Facts with many grants, of which the last one is on the machine.
fn facts(grants: u128) -> Facts {
    let grant = |number: u128| GrantFacts {
        id: GrantId(Uuid::from_u128(number)),
        role: BuiltInRole::Operator.as_str().to_owned(),
        capabilities: BuiltInRole::Operator.capabilities(),
        scopes: Scopes::default(),
        on: Selection::Machines(vec![MachineId(Uuid::from_u128(number))]),
        expires_at: Some(Timestamp(i64::MAX)),
        conditions: Conditions {
            networks: vec!["10.0.0.0/8".parse().expect("a network")],
            ..Conditions::default()
        },
        team: None,
    };
    Facts {
        principal: Principal {
            id: PrincipalId(Uuid::from_u128(9)),
            tenant: TenantId::SEED,
            name: "user:bob".parse().expect("a name"),
        },
        active: true,
        grants: (1..=grants).map(grant).collect(),
        circumstances: Circumstances {
            address: "10.1.2.3".parse().ok(),
            ..Circumstances::default()
        },
    }
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("authorize");
    for grants in [1, 10, 100, 1000] {
        let facts = facts(grants);
        let target = Target::Machine(MachineTarget {
            id: MachineId(Uuid::from_u128(grants)),
            tenant: TenantId::SEED,
            active: true,
            label: "web-1".parse().expect("a label"),
            tags: Arc::default(),
            team: None,
            attended: None,
        });
        let wanted = Capabilities::of(&[Capability::TerminalSpawn, Capability::TerminalInput]);
        group.bench_with_input(BenchmarkId::from_parameter(grants), &facts, |bencher, facts| {
            bencher.iter(|| authorize(black_box(facts), wanted, &target, Timestamp(1)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
