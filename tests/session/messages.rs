//! Sealed messages against the attacks on them.

use std::time::Duration;

use adit_session::{
    BAD_RUN_MAX, Draft, MachineSecret, MessageType, Opener, Receiver, Refusal, seal,
    seal_with_nonce,
};

use super::*;

// SES-22, TOK-01
#[test]
fn a_message_is_accepted_once() {
    let (mut opener, message) = (opener(), sealed("{}"));
    assert!(opener.validate_secure_message(message.as_bytes(), now()).valid);
    for _ in 0..3 {
        let again = opener.validate_secure_message(message.as_bytes(), now());
        assert_eq!((again.valid, again.reason), (false, Some(Refusal::Replayed)));
    }
}

// TOK-02
#[test]
fn a_message_with_any_bit_changed_is_refused_with_one_code_for_the_peer() {
    let (mut opener, message) = (opener(), sealed(r#"{"data":"ls\r"}"#));
    for bit in 0..message.len() * 8 {
        let mut changed = message.clone().into_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        let refusal = opener.open(Some(SESSION), &changed, now()).unwrap_err();
        assert_eq!(refusal.peer_code(), "message.refused", "bit {bit}");
    }
    assert!(opener.open(Some(SESSION), message.as_bytes(), now()).is_ok());
}

// TOK-02
#[test]
fn a_change_of_each_field_is_found_by_the_hmac() {
    let message = seal_with_nonce(
        &draft(MessageType::TerminalInput, "{}"),
        &secret(),
        now(),
        *b"0123456789abcdef",
    )
    .unwrap();
    let changes = [
        ("terminal_input", "terminal_resize"),
        ("8d3c0a4e", "8d3c0a4f"),
        ("\"payload\":\"{}\"", "\"payload\":\"[]\""),
        ("3031323334353637", "4031323334353637"),
        ("11:20:30.000Z", "11:20:30.001Z"),
    ];
    for (from, to) in changes {
        let changed = message.replacen(from, to, 1);
        assert_ne!(changed, message);
        let refused = opener().open(None, changed.as_bytes(), now()).unwrap_err();
        assert_eq!(refused, Refusal::HmacMismatch, "{from}");
    }
}

// TOK-03
#[test]
fn a_resize_relabelled_as_a_command_is_refused() {
    let message =
        seal(&draft(MessageType::TerminalResize, r#"{"cols":80,"rows":24}"#), &secret(), now())
            .unwrap();
    let relabelled = message.replace("terminal_resize", "execute_command");
    let refused = opener().open(Some(SESSION), relabelled.as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::HmacMismatch);
}

// TOK-04
#[test]
fn a_message_of_one_session_is_refused_in_another() {
    let (mut opener, message) = (opener(), sealed("{}"));
    let refused = opener.open(Some(OTHER_SESSION), message.as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::SessionMismatch);
    assert!(opener.open(Some(SESSION), message.as_bytes(), now()).is_ok());
}

// TOK-05
#[test]
fn a_message_for_one_machine_is_refused_at_another_that_has_the_same_secret() {
    let mut other = Opener::new(Receiver::Machine, OTHER_MACHINE, secret(), history());
    let refused = other.open(Some(SESSION), sealed("{}").as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::MachineMismatch);
}

// SES-24
#[test]
fn a_message_of_one_direction_is_refused_in_the_other() {
    let mut gateway = Opener::new(Receiver::Gateway, MACHINE, secret(), history());
    let reflected = gateway.open(Some(SESSION), sealed("{}").as_bytes(), now()).unwrap_err();
    assert_eq!(reflected, Refusal::WrongDirection);
    let output = seal(&draft(MessageType::TerminalOutput, "{}"), &secret(), now()).unwrap();
    assert!(gateway.open(Some(SESSION), output.as_bytes(), now()).is_ok());
    let refused = opener().open(Some(SESSION), output.as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::WrongDirection);
}

// SES-5, TOK-07
#[test]
fn sixty_seconds_either_way_are_accepted_and_a_millisecond_more_is_not() {
    let made = now();
    for (apart_ms, accepted) in [(59_000, true), (60_000, true), (60_001, false), (61_000, false)] {
        let apart = Duration::from_millis(apart_ms);
        for at in [made - apart, made + apart] {
            let outcome = opener().open(Some(SESSION), sealed("{}").as_bytes(), at).map(drop);
            let expected = if accepted { Ok(()) } else { Err(Refusal::TimestampOutOfRange) };
            assert_eq!(outcome, expected, "{apart_ms}");
        }
    }
}

// SES-22
#[test]
fn the_time_is_checked_before_the_hmac_and_the_shape_before_both() {
    let late = now() + Duration::from_secs(3600);
    let forged = sealed("{}").replace("\"payload\":\"{}\"", "\"payload\":\"[]\"");
    let refused = opener().open(Some(SESSION), forged.as_bytes(), late).unwrap_err();
    assert_eq!(refused, Refusal::TimestampOutOfRange);
    let misshapen = forged.replace("\"nonce\"", "\"once\"");
    let refused = opener().open(Some(SESSION), misshapen.as_bytes(), late).unwrap_err();
    assert_eq!(refused.code(), "message.malformed");
}

// SES-22, TOK-11
#[test]
fn a_message_with_a_wrong_hmac_spends_no_nonce() {
    let (mut opener, message) = (opener(), sealed("{}"));
    let other = MachineSecret::new("another secret, long enough").unwrap();
    let nonce = *b"the same nonce!!";
    let draft = draft(MessageType::TerminalInput, "{}");
    let forged = seal_with_nonce(&draft, &other, now(), nonce).unwrap();
    let good = seal_with_nonce(&draft, &secret(), now(), nonce).unwrap();
    let refused = opener.open(Some(SESSION), forged.as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::HmacMismatch);
    assert!(opener.history().is_empty());
    assert!(opener.open(Some(SESSION), good.as_bytes(), now()).is_ok());
    assert!(opener.open(Some(SESSION), message.as_bytes(), now()).is_ok());
}

// SES-26, TOK-29
#[test]
fn a_message_sealed_with_a_hash_of_the_secret_is_refused() {
    // SHA-256 of the secret, as a database may keep it.
    let hash = "408a1b6995aa5480569ffe934766782982176d91daf184baac9d806b930a0820";
    let thief = MachineSecret::new(hash).unwrap();
    let forged = seal(&draft(MessageType::TerminalInput, "{}"), &thief, now()).unwrap();
    let refused = opener().open(Some(SESSION), forged.as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::HmacMismatch);
}

// SES-26
#[test]
fn a_rotated_secret_loses_no_message_during_the_overlap() {
    let (mut opener, old) = (opener(), secret());
    let new = MachineSecret::new("the new secret of this machine").unwrap();
    let by = |secret: &MachineSecret, at| {
        seal(&draft(MessageType::TerminalInput, "{}"), secret, at).unwrap()
    };
    opener.rotate(new.clone(), Duration::from_secs(30), now());
    assert!(opener.open(None, by(&old, now()).as_bytes(), now()).is_ok());
    assert!(opener.open(None, by(&new, now()).as_bytes(), now()).is_ok());
    let later = now() + Duration::from_secs(30);
    let refused = opener.open(None, by(&old, later).as_bytes(), later).unwrap_err();
    assert_eq!(refused, Refusal::HmacMismatch);
    assert!(opener.open(None, by(&new, later).as_bytes(), later).is_ok());
}

// SES-25
#[test]
fn a_run_of_bad_messages_is_over_and_a_good_one_breaks_it() {
    let mut opener = opener();
    for _ in 1..BAD_RUN_MAX {
        assert!(opener.open(None, b"{}", now()).is_err());
    }
    assert!(!opener.run().is_over());
    assert!(opener.open(None, sealed("{}").as_bytes(), now()).is_ok());
    for _ in 0..BAD_RUN_MAX {
        assert!(!opener.run().is_over());
        assert!(opener.open(None, b"{}", now()).is_err());
    }
    assert!(opener.run().is_over());
}

// SES-25, SES-26
#[test]
fn nothing_of_a_message_or_a_secret_is_shown() {
    let message = sealed(r#"{"data":"hunter2"}"#);
    let opened = opener().open(None, message.as_bytes(), now()).unwrap();
    let mut opener = opener();
    let forged = message.replace("hunter2", "hunter3");
    let refused = opener.open(None, forged.as_bytes(), now()).unwrap_err();
    let shown = format!("{opened:?} {refused:?} {refused} {:?} {opener:?}", secret());
    for hidden in ["hunter", MACHINE_SECRET, &MACHINE_SECRET[..8]] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

// SES-21
#[test]
fn what_is_over_the_limit_is_neither_sealed_nor_read() {
    let big = "x".repeat(adit_session::MESSAGE_BYTES_MAX);
    let draft: Draft<'_> = draft(MessageType::TerminalInput, &big);
    assert!(seal(&draft, &secret(), now()).is_err());
    let message = vec![b'{'; 100 * 1024 * 1024];
    assert_eq!(opener().open(None, &message, now()).unwrap_err(), Refusal::TooLarge);
}
