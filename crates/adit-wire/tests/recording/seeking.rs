//! Getting to a moment without reading everything before it.

use adit_wire::recording::chunk::{HEAD_BYTES, Head};
use adit_wire::recording::recover;

use super::sample::{SESSION, sample};

// TERM-41
#[test]
fn a_moment_is_found_in_the_last_chunk_that_starts_before_it() {
    let found = recover(&sample(SESSION).file);
    let at = |ms| found.seek(ms).map(|entry| entry.sequence);
    assert_eq!([at(0), at(999), at(1000), at(2500)], [Some(1), Some(1), Some(2), Some(3)]);
    assert_eq!(at(1 << 40), Some(5));
}

#[test]
fn an_empty_file_has_no_moment() {
    assert_eq!(recover(&[]).seek(0), None);
}

// TERM-41
#[test]
fn heads_alone_lead_from_chunk_to_chunk() {
    let sample = sample(SESSION);
    let mut at = 0;
    for entry in recover(&sample.file).entries {
        let head = Head::decode(sample.file[at..at + HEAD_BYTES].try_into().unwrap()).unwrap();
        assert_eq!((entry.offset, entry.sequence), (at as u64, head.sequence));
        at += head.chunk_bytes();
    }
}
