//! An export, verified far from the gateway.

use adit_wire::audit::export::{ExportReport, verify};
use adit_wire::audit::{AuditEvent, Flaw, Record, line};
use adit_wire::checkpoint::SignedCheckpoint;

use super::sample::{checkpoints, event, gateway, key, log, public, rechain};

fn export(log: &[Record], own: &[SignedCheckpoint]) -> String {
    let event = |record: &Record| AuditEvent::decode(&record.bytes).unwrap();
    let lines = log.iter().map(|record| line(record, &event(record)));
    let checkpoints = own.iter().map(SignedCheckpoint::export);
    lines.chain(checkpoints).map(|line| line + "\n").collect()
}

fn report(text: &str, copies: &[SignedCheckpoint]) -> ExportReport {
    verify(text.lines(), &[public(&key(1))], copies)
}

#[test]
fn a_whole_export_holds() {
    let log = log(gateway(1), 6);
    let report = report(&export(&log, &checkpoints(&log, &[3, 6])), &[]);
    assert!(report.is_ok(), "{}", report.log.sentence);
    assert_eq!((report.log.events, report.log.checkpoints, report.log.unanchored), (6, 2, 0));
}

// BEY-2, AUD-01
#[test]
fn an_export_with_a_line_taken_out_or_changed_does_not_hold() {
    let log = log(gateway(1), 6);
    let text = export(&log, &checkpoints(&log, &[3, 6]));
    let lines: Vec<&str> = text.lines().collect();
    // The newest checkpoint is last; without it the log still holds, with an unanchored tail.
    for at in 0..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(at);
        assert!(!report(&without.join("\n"), &[]).is_ok(), "line {at}");
    }
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 2;
        let held = String::from_utf8(bytes).is_ok_and(|text| report(&text, &[]).is_ok());
        assert!(!held, "byte {at}");
    }
}

// AUD-02
#[test]
fn an_export_that_lacks_what_a_kept_checkpoint_tells_does_not_hold() {
    let log = log(gateway(1), 6);
    let all = checkpoints(&log, &[3, 6]);
    let report = report(&export(&log[..3], &all[..1]), &all[1..]);
    let bad = report.log.first_bad[0].record;
    assert_eq!((bad.seq, bad.flaw), (4, Flaw::Cut));
}

// AUD-03
#[test]
fn an_export_whose_chain_was_made_anew_does_not_hold() {
    let log = log(gateway(1), 6);
    let own = checkpoints(&log, &[3, 6]);
    let mut edited = log.clone();
    edited[4].bytes = event(99, gateway(1)).canonical().into_bytes();
    rechain(&mut edited);
    let report = report(&export(&edited, &own), &[]);
    assert_eq!(report.log.first_bad[0].record.seq, 6);
}

#[test]
fn a_line_that_is_nothing_is_named() {
    let log = log(gateway(1), 2);
    let text = export(&log, &[]).replacen('\n', "\nrubbish\n", 1);
    let report = report(&text, &[]);
    assert_eq!((report.bad_line, report.is_ok()), (Some(2), false));
}
