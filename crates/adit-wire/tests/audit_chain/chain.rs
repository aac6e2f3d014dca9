//! The chain of one gateway.

use adit_domain::time::Timestamp;
use adit_wire::audit::{
    AuditEvent, BadRecord, Chain, ChainVerifier, Flaw, Record, line, line::parse,
};
use adit_wire::digest::Digest;

use super::sample::{check, event, gateway, log};

const EVENTS: u64 = 8;

fn bad(log: &[Record]) -> BadRecord {
    check(gateway(1), log).unwrap_err()
}

#[test]
fn a_log_that_nobody_touched_holds() {
    let log = log(gateway(1), EVENTS);
    assert_eq!(check(gateway(1), &log), Ok(Chain { seq: EVENTS, hash: log[7].hash }));
}

#[test]
fn the_hash_is_the_documented_one() {
    let record = &log(gateway(1), 1)[0];
    let input = [
        &b"adit-audit-v1\n"[..],
        &[0; 32],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        event(1, gateway(1)).canonical().as_bytes(),
    ]
    .concat();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
    assert_eq!(Digest::from_slice(hash.as_ref()), Some(record.hash));
}

// BEY-2, AUD-01
#[test]
fn a_flipped_bit_anywhere_is_found_at_its_event() {
    let log = log(gateway(1), EVENTS);
    for at in 0..log.len() {
        for byte in 0..log[at].bytes.len() {
            for bit in [0x01, 0x80] {
                let mut edited = log.clone();
                edited[at].bytes[byte] ^= bit;
                assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 1, flaw: Flaw::Hash });
            }
        }
        for byte in 0..32 {
            let mut edited = log.clone();
            edited[at].hash.0[byte] ^= 1;
            assert_eq!(bad(&edited).seq, at as u64 + 1);
            let mut edited = log.clone();
            edited[at].prev.0[byte] ^= 1;
            assert_eq!(bad(&edited).seq, at as u64 + 1);
        }
    }
}

// BEY-2, AUD-01
#[test]
fn a_deleted_event_is_found_at_its_number() {
    let log = log(gateway(1), EVENTS);
    for at in 0..log.len() - 1 {
        let mut edited = log.clone();
        edited.remove(at);
        assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 1, flaw: Flaw::Missing });
        edited[at..].iter_mut().for_each(|record| record.seq -= 1);
        assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 1, flaw: Flaw::Link });
    }
}

// BEY-2, AUD-01
#[test]
fn an_inserted_event_is_found_at_its_number() {
    let log = log(gateway(1), EVENTS);
    for at in 0..log.len() {
        let before = match at {
            0 => Chain::EMPTY,
            _ => Chain { seq: at as u64, hash: log[at - 1].hash },
        };
        let forged = before.clone_append(event(99, gateway(1)));
        let mut edited = log.clone();
        edited.insert(at, forged);
        assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 2, flaw: Flaw::Repeated });
        edited[at + 1..].iter_mut().for_each(|record| record.seq += 1);
        assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 2, flaw: Flaw::Link });
    }
}

trait Forge {
    fn clone_append(self, event: AuditEvent) -> Record;
}

impl Forge for Chain {
    fn clone_append(mut self, event: AuditEvent) -> Record {
        self.append(event.canonical().into_bytes())
    }
}

// BEY-2, AUD-01
#[test]
fn two_swapped_events_are_found_at_the_first() {
    let log = log(gateway(1), EVENTS);
    for one in 0..log.len() {
        for other in one + 1..log.len() {
            let mut rows = log.clone();
            rows.swap(one, other);
            assert_eq!(bad(&rows).seq, one as u64 + 1);
            let mut contents = log.clone();
            contents[one].bytes = log[other].bytes.clone();
            contents[other].bytes = log[one].bytes.clone();
            assert_eq!(bad(&contents), BadRecord { seq: one as u64 + 1, flaw: Flaw::Hash });
        }
    }
}

// BEY-2, AUD-01
#[test]
fn an_event_with_another_time_is_found() {
    let log = log(gateway(1), EVENTS);
    for at in 0..log.len() {
        let mut event = AuditEvent::decode(&log[at].bytes).unwrap();
        event.at = Timestamp(event.at.0 + 1);
        let mut edited = log.clone();
        edited[at].bytes = event.canonical().into_bytes();
        assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 1, flaw: Flaw::Hash });
    }
}

// AUD-01
#[test]
fn an_event_whose_own_hash_was_made_anew_is_found_at_the_next() {
    let log = log(gateway(1), EVENTS);
    for at in 0..log.len() - 1 {
        let before = match at {
            0 => Chain::EMPTY,
            _ => Chain { seq: at as u64, hash: log[at - 1].hash },
        };
        let mut edited = log.clone();
        edited[at] = before.clone_append(event(99, gateway(1)));
        assert_eq!(bad(&edited), BadRecord { seq: at as u64 + 2, flaw: Flaw::Link });
    }
}

#[test]
fn another_gateways_chain_does_not_pass_for_this_one() {
    let theirs = log(gateway(2), EVENTS);
    assert_eq!(bad(&theirs), BadRecord { seq: 1, flaw: Flaw::Foreign });
}

#[test]
fn a_chain_is_checked_from_any_event_that_is_known_to_be_good() {
    let log = log(gateway(1), EVENTS);
    let mut verifier = ChainVerifier::after(gateway(1), Chain { seq: 3, hash: log[2].hash });
    assert!(log[3..].iter().all(|record| verifier.check(record).is_ok()));
    assert_eq!(verifier.chain().seq, EVENTS);
}

// TERM-52, AUD-05
#[test]
fn an_exported_line_is_one_line_of_json_that_reads_back_as_its_record() {
    let mut event = event(1, gateway(1));
    event.actor.name = "ann\r\n\u{2028}\",\"level\":\"INFO\u{1b}[31m\u{202e}".into();
    let mut chain = Chain::EMPTY;
    let record = chain.append(event.canonical().into_bytes());
    let text = line(&record, &event);
    assert!(!text.chars().any(adit_wire::audit::escape::acts));
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["event"]["actor"]["name"], event.actor.name.as_str());
    assert_eq!(read["time"], event.at.to_string());
    assert_eq!(parse(&text), Ok(record));
}

// AUD-01
#[test]
fn an_exported_line_that_was_changed_anywhere_does_not_hold() {
    let gateway = gateway(1);
    let text = line(&log(gateway, 1)[0], &event(1, gateway));
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let holds = String::from_utf8(bytes)
            .is_ok_and(|text| parse(&text).is_ok_and(|record| check(gateway, &[record]).is_ok()));
        assert!(!holds, "byte {at}: {}", &text[at..at + 1]);
    }
}
