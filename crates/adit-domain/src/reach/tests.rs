use super::*;

const NOW: Timestamp = Timestamp(10_000_000);

fn life(status: Status, heard: i64, grace: Option<i64>) -> Life {
    let ago = |ms: i64| Timestamp(NOW.0 - ms);
    Life { status, heard_at: ago(heard), grace_at: grace.map(ago) }
}

#[test]
fn a_machine_is_named_by_its_label_and_whoever_speaks_for_one_in_full() {
    for (text, label) in [
        ("web-1", "web-1"),
        ("agent:web-1", "web-1"),
        ("plugin-agent:web-1:backup", "plugin-agent:web-1:backup"),
    ] {
        assert_eq!(peer_label(&read_peer(text).unwrap()), label);
    }
    let long = "a".repeat(151);
    for bad in ["", "admin", "a:b", "../x", "Web", "agent:", "plugin-agent:a", "wéb", long.as_str()]
    {
        // TKT-16
        assert_eq!(read_peer(bad), Err(BadCertificateName), "{bad}");
    }
}

#[test]
fn an_instance_is_stale_after_five_minutes_and_dead_after_an_hour() {
    // TIX-23
    for (silent, health) in [
        (0, Health::Active),
        (300_000, Health::Active),
        (300_001, Health::Stale),
        (3_600_000, Health::Stale),
        (3_600_001, Health::Dead),
    ] {
        assert_eq!(Health::of(Timestamp(NOW.0 - silent), NOW), health, "{silent}");
    }
}

#[test]
fn a_session_lapses_after_its_grace_and_after_ten_silent_minutes() {
    // TIX-52, TIX-53
    assert_eq!(life(Status::Active, 600_000, None).lapsed(NOW), None);
    assert_eq!(life(Status::Active, 600_001, None).lapsed(NOW), Some(Lapse::Inactive));
    assert_eq!(life(Status::Grace, 0, Some(60_000)).lapsed(NOW), None);
    assert_eq!(life(Status::Grace, 0, Some(60_001)).lapsed(NOW), Some(Lapse::GraceExpired));
    assert_eq!(life(Status::Dead, 9_999_999, Some(9_999_999)).lapsed(NOW), None);
}

#[test]
fn every_reason_reads_back() {
    for one in Lapse::ALL {
        assert_eq!(one.as_str().parse(), Ok(*one));
        assert!(!one.sentence().is_empty());
    }
}
