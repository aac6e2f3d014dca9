use super::*;

/// Wednesday, 2026-01-07 00:00 UTC.
const WEDNESDAY: i64 = 1_767_744_000_000;

fn at(day: i64, hour: i64, minute: i64) -> Timestamp {
    Timestamp(WEDNESDAY + ((day * 24 + hour) * 60 + minute) * MINUTE_MS)
}

fn hours(text: &str) -> Hours {
    text.parse().unwrap()
}

#[test]
fn working_hours_begin_and_end_on_the_minute() {
    let hours = hours("mon-fri 08:00-18:00");
    for (moment, within) in [
        (at(0, 7, 59), false),
        (at(0, 8, 0), true),
        (at(0, 17, 59), true),
        (at(0, 18, 0), false),
        (at(2, 12, 0), true),
        (at(3, 12, 0), false),
        (at(4, 12, 0), false),
        (at(5, 12, 0), true),
    ] {
        assert_eq!(hours.contains(moment), within, "{moment:?}");
    }
    assert_eq!(hours.end(at(0, 9, 30)), at(0, 18, 0));
    assert_eq!(hours.end(at(0, 19, 0)), at(0, 19, 0));
}

#[test]
fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
    let hours = hours("fri 22:00-06:00");
    assert!(hours.contains(at(2, 23, 0)));
    assert!(hours.contains(at(3, 5, 59)));
    assert!(!hours.contains(at(2, 5, 0)));
    assert!(!hours.contains(at(3, 22, 30)));
    assert_eq!(hours.end(at(2, 23, 0)), at(3, 6, 0));
}

#[test]
fn an_offset_moves_the_hours() {
    let hours = hours("wed 08:00-18:00 +02:00");
    assert!(hours.contains(at(0, 6, 0)));
    assert!(!hours.contains(at(0, 16, 0)));
}

#[test]
fn days_without_a_gap_are_one_stretch() {
    assert_eq!(hours("wed,thu 00:00-24:00").end(at(0, 12, 0)), at(2, 0, 0));
    let always = hours("daily 00:00-24:00");
    assert!(always.contains(at(3, 3, 3)));
    assert!(always.end(at(0, 0, 0)) >= at(7, 0, 0));
}

#[test]
fn hours_read_back_as_they_were_written() {
    for text in ["mon-fri 08:00-18:00", "daily 22:00-06:00", "sat,sun 00:00-24:00 -03:30"] {
        assert_eq!(hours(text).to_string(), text);
    }
}

#[test]
fn hours_that_mean_nothing_are_refused() {
    for bad in [
        "",
        "mon",
        "mon 8:00-18:00",
        "mon 08:00-08:00",
        "mon 08:60-09:00",
        "mon 24:01-09:00",
        "noday 08:00-18:00",
        "mon 08:00-18:00 02:00",
        "mon 08:00-18:00 +15:00",
        "mon 08:00-18:00 +02:00 x",
    ] {
        assert_eq!(bad.parse::<Hours>(), Err(BadHours), "{bad}");
    }
}

#[test]
fn a_network_holds_its_own_addresses() {
    let inside = |net: &str, address: &str| {
        net.parse::<Network>().unwrap().contains(address.parse().unwrap())
    };
    assert!(inside("10.0.0.0/8", "10.255.0.1"));
    assert!(!inside("10.0.0.0/8", "11.0.0.1"));
    assert!(inside("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert!(inside("2001:db8::/32", "2001:db8:1::9"));
    assert!(!inside("2001:db8::/32", "2001:db9::1"));
    assert!(inside("192.0.2.7", "192.0.2.7"));
    assert!(!inside("192.0.2.7", "192.0.2.8"));
    assert!(inside("0.0.0.0/0", "203.0.113.1") && inside("::/0", "2001:db8::1"));
    assert!(!inside("::/0", "203.0.113.1"));
}

#[test]
fn a_network_with_bits_behind_its_length_is_refused() {
    for bad in ["10.0.0.1/8", "10.0.0.0/33", "2001:db8::1/32", "10/8", "10.0.0.0/+8", "x", ""] {
        assert_eq!(bad.parse::<Network>(), Err(BadNetwork), "{bad}");
    }
}

#[test]
fn a_second_factor_is_fresh_for_as_long_as_it_says() {
    let conditions = Conditions {
        second_factor_within: Some(Duration::from_secs(300)),
        ..Conditions::default()
    };
    let shown =
        |ms| Circumstances { second_factor_at: Some(Timestamp(ms)), ..Circumstances::default() };
    assert_eq!(conditions.met(&Circumstances::default(), Timestamp(0)), Err(Unmet::SecondFactor));
    assert_eq!(conditions.met(&shown(0), Timestamp(300_000)), Ok(()));
    assert_eq!(conditions.met(&shown(0), Timestamp(300_001)), Err(Unmet::SecondFactor));
}

#[test]
fn what_a_fresh_second_factor_opened_stays_open() {
    let conditions = Conditions {
        second_factor_within: Some(Duration::from_secs(300)),
        ..Conditions::default()
    };
    let how = Circumstances {
        second_factor_at: Some(Timestamp(0)),
        since: Some(Timestamp(1000)),
        ..Circumstances::default()
    };
    assert_eq!(conditions.met(&how, Timestamp(10_000_000)), Ok(()));
}
