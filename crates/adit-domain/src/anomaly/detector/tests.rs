use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::anomaly::{Burst, Deed, Kind};
use crate::{EventId, Timestamp};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn limits() -> Thresholds {
    let burst = |count| Burst { count, window: Duration::from_secs(60) };
    Thresholds {
        refusals: burst(3),
        failures: burst(3),
        machines: burst(2),
        learn_commands: Duration::from_secs(7 * 86_400),
        learn_days: 2,
        cool_down: Duration::from_secs(600),
    }
}

fn act(n: u128, second: i64, deed: Deed) -> Act {
    Act {
        event: EventId(Uuid::from_u128(n)),
        at: Timestamp(second * 1000),
        tenant: TenantId::SEED,
        who: Who::Known("ann".into()),
        deed,
    }
}

fn ran(template: &str, machine: &str) -> Deed {
    Deed::Ran { template: template.into(), machine: machine.into() }
}

/// Gives the kinds found of deeds at seconds, each with the number of its act and of its events.
fn kinds(deeds: impl IntoIterator<Item = (i64, Deed)>) -> Vec<(Kind, u128, usize)> {
    let mut detector = Detector::new(limits());
    let mut kinds = Vec::new();
    for (n, (second, deed)) in (0..).zip(deeds) {
        let found = detector.observe(&act(n, second, deed));
        kinds.extend(found.into_iter().map(|found| (found.kind, n, found.events.len())));
    }
    kinds
}

#[test]
fn refusals_are_told_at_their_number_and_not_one_before() {
    // CMD-41
    let refused = |seconds: &[i64]| {
        kinds(seconds.iter().map(|second| (*second, Deed::Refused)).collect::<Vec<_>>())
    };
    assert_eq!(refused(&[0, 1]), []);
    assert_eq!(refused(&[0, 1, 2]), [(Kind::Refusals, 2, 3)]);
    assert_eq!(refused(&[0, 1, 60]), [], "the first is out of the window");
    assert_eq!(refused(&[0, 1, 59]), [(Kind::Refusals, 2, 3)]);
}

#[test]
fn one_cause_is_told_once_until_it_cooled_down() {
    // CMD-41
    let seconds: Vec<_> = (0..602).map(|second| (second, Deed::Refused)).collect();
    assert_eq!(kinds(seconds), [(Kind::Refusals, 2, 3)]);
    let seconds: Vec<_> = (0..603).map(|second| (second, Deed::Refused)).collect();
    assert_eq!(kinds(seconds), [(Kind::Refusals, 2, 3), (Kind::Refusals, 602, 3)]);
}

#[test]
fn failures_are_told_at_their_number_and_not_one_before() {
    // CMD-41
    assert_eq!(kinds([(0, Deed::Failed), (1, Deed::Failed)]), []);
    let three = [(0, Deed::Failed), (1, Deed::Failed), (2, Deed::Failed)];
    assert_eq!(kinds(three), [(Kind::Failures, 2, 3)]);
}

#[test]
fn more_machines_than_the_limit_are_told_and_one_machine_counts_once() {
    // CMD-41
    let opened = |machine: &str| Deed::Opened { machine: machine.into() };
    assert_eq!(kinds([(0, opened("a")), (1, opened("b")), (2, opened("a"))]), []);
    let three = [(0, opened("a")), (1, opened("b")), (2, ran("uptime", "c"))];
    assert_eq!(kinds(three), [(Kind::FanOut, 2, 3)]);
}

#[test]
fn a_new_command_is_told_after_the_learning_only() {
    // CMD-41
    let runs = |second| [(0, ran("uptime", "a")), (second, ran("ls", "a"))];
    // At the same hour of the week, so that the hour does not stand out.
    assert_eq!(kinds(runs(7 * DAY - 1)), []);
    assert_eq!(kinds(runs(7 * DAY)), [(Kind::NewCommand, 1, 1)]);
    let again = [(0, ran("uptime", "a")), (7 * DAY, ran("uptime", "a"))];
    assert_eq!(kinds(again), []);
}

#[test]
fn an_hour_never_seen_is_told_once_enough_days_are_known() {
    // CMD-41
    let days = |days: i64, last: i64| {
        (0..days).map(|day| (day * DAY, Deed::Present)).chain([(last, Deed::Present)])
    };
    assert_eq!(kinds(days(1, 12 * HOUR)), [], "one day is no history");
    assert_eq!(kinds(days(2, DAY + 12 * HOUR)), [(Kind::UnusualHours, 2, 1)]);
    assert_eq!(kinds(days(2, DAY + HOUR)), [], "the hour beside a known one");
    assert_eq!(kinds(days(2, 7 * DAY)), [], "the same hour a week later");
}

#[test]
fn the_anonymous_make_no_user_forgotten() {
    // CMD-41
    let mut detector = Detector::new(limits());
    detector.observe(&act(0, 0, Deed::Refused));
    detector.observe(&act(1, 1, Deed::Refused));
    for n in 0..20_000 {
        let who = Who::Anonymous(n.to_string());
        detector.observe(&Act { who, ..act(2 + n, 2, Deed::Refused) });
    }
    assert!(detector.anonymous.len() <= MAX_ANONYMOUS);
    assert_eq!(detector.observe(&act(30_000, 3, Deed::Refused)).len(), 1);
}

proptest! {
    #[test]
    fn no_more_alerts_of_one_kind_than_cool_downs(gaps in proptest::collection::vec(0_i64..100, 1..400)) {
        // CMD-41
        let mut second = 0;
        let deeds = gaps.iter().map(|gap| { second += gap; (second, Deed::Refused) });
        let found = kinds(deeds.collect::<Vec<_>>());
        let most = gaps.iter().sum::<i64>() / 600 + 1;
        prop_assert!(i64::try_from(found.len()).unwrap() <= most);
    }
}
