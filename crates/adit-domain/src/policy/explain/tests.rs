use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::policy::selection::Matcher;
use crate::policy::{Circumstances, Conditions, MachineTarget, Scopes, Selection, authorize};
use crate::{Capability, MachineId, Principal, PrincipalId, TeamId, TenantId};

const OTHER: TenantId = TenantId(Uuid::from_u128(77));

fn small<T>(make: fn(u128) -> T) -> impl Strategy<Value = T>
where
    T: std::fmt::Debug,
{
    (1u128..4).prop_map(make)
}

fn tag() -> impl Strategy<Value = (String, String)> {
    (prop_oneof!["env", "tier"], prop_oneof!["a", "b"])
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    proptest::collection::vec(0..Capability::ALL.len(), 0..4)
        .prop_map(|list| list.into_iter().map(|at| Capability::ALL[at]).collect())
}

fn selection() -> impl Strategy<Value = Selection> {
    let machines = proptest::collection::vec(small(|n| MachineId(Uuid::from_u128(n))), 0..3);
    let pattern = prop_oneof!["m-\\*", "m-1", "\\*2"].prop_map(|text: String| text.parse().ok());
    let matcher = (
        proptest::option::of(pattern),
        proptest::collection::vec(tag(), 0..2),
        proptest::option::of(small(|n| TeamId(Uuid::from_u128(n)))),
    );
    prop_oneof![
        Just(Selection::All),
        machines.prop_map(Selection::Machines),
        matcher.prop_map(|(label, tags, team)| {
            let label = label.flatten();
            let team = team.map(|team| (team, "eng".to_owned()));
            Selection::Matching(Matcher { kind: None, label, tags, team })
        }),
    ]
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let hours = prop_oneof!["daily 00:00-00:30", "thu 00:00-00:10", "mon-fri 08:00-18:00"]
        .prop_map(|text: String| text.parse().ok());
    let network = prop_oneof!["10\\.0\\.0\\.0/8", "192\\.0\\.2\\.0/24"]
        .prop_map(|text: String| text.parse().expect("a network"));
    (
        proptest::option::weighted(0.2, hours),
        proptest::collection::vec(network, 0..2),
        proptest::option::weighted(0.3, (0u64..2000).prop_map(Duration::from_secs)),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(hours, networks, second_factor_within, approval)| Conditions {
            hours: hours.flatten(),
            networks,
            second_factor_within,
            approval,
        })
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0i64..3_000_000).prop_map(Timestamp)
}

fn grants() -> impl Strategy<Value = Vec<GrantFacts>> {
    let one =
        (capabilities(), selection(), proptest::option::of(moment()), conditions(), any::<u128>());
    let one = one.prop_map(|(capabilities, on, expires_at, conditions, id)| GrantFacts {
        id: GrantId(Uuid::from_u128(id)),
        role: "role".to_owned(),
        capabilities,
        scopes: Scopes::default(),
        on,
        expires_at,
        conditions,
        team: None,
    });
    proptest::collection::vec(one, 0..6)
}

fn circumstances() -> impl Strategy<Value = Circumstances> {
    let address = prop_oneof!["10\\.1\\.1\\.1", "192\\.0\\.2\\.9", "::ffff:10\\.1\\.1\\.1"]
        .prop_map(|text: String| text.parse::<IpAddr>().expect("an address"));
    (
        proptest::option::of(address),
        proptest::option::of(moment()),
        proptest::option::weighted(0.3, capabilities()),
        proptest::option::of(moment()),
    )
        .prop_map(|(address, second_factor_at, limit, since)| Circumstances {
            address,
            second_factor_at,
            limit,
            since,
        })
}

fn target() -> impl Strategy<Value = Target> {
    let tenant = || prop_oneof![9 => Just(TenantId::SEED), 1 => Just(OTHER)];
    let machine = (
        1u128..4,
        tenant(),
        proptest::bool::weighted(0.9),
        proptest::collection::vec(tag(), 0..3),
        proptest::option::of(small(|n| TeamId(Uuid::from_u128(n)))),
    );
    let machine = machine.prop_map(|(id, tenant, active, tags, team)| {
        Target::Machine(MachineTarget {
            id: MachineId(Uuid::from_u128(id)),
            tenant,
            active,
            label: format!("m-{id}").parse().expect("a label"),
            tags: Arc::new(tags.into_iter().collect::<BTreeMap<_, _>>()),
            team,
            attended: None,
        })
    });
    prop_oneof![8 => machine, 2 => tenant().prop_map(Target::Tenant), 1 => Just(Target::Gateway)]
}

fn facts() -> impl Strategy<Value = Facts> {
    (grants(), circumstances(), proptest::bool::weighted(0.95)).prop_map(
        |(grants, circumstances, active)| Facts {
            principal: Principal {
                id: PrincipalId(Uuid::from_u128(9)),
                tenant: TenantId::SEED,
                name: "user:bob".parse().expect("a name"),
            },
            active,
            grants,
            circumstances,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    // BEY-15
    #[test]
    fn what_is_explained_is_what_is_enforced(
        facts in facts(),
        wanted in capabilities(),
        target in target(),
        now in moment(),
    ) {
        let enforced = authorize(&facts, wanted, &target, now);
        let explained = explain(&facts, wanted, &target, now);
        let given: Vec<GrantId> = explained
            .lines
            .iter()
            .filter(|line| line.effect == Effect::Gives)
            .map(|line| line.grant)
            .collect();
        prop_assert_eq!(enforced.clone().map(drop), explained.verdict);
        if let Ok(permit) = enforced
            && !wanted.is_empty()
        {
            let mut by = permit.grants().to_vec();
            by.sort();
            prop_assert_eq!(by, given);
        }
    }
}
