//! Files made to harm.

use std::time::Instant;

use adit_wire::digest::Digest;
use adit_wire::recording::chunk::{Codec, HEAD_BYTES, Head, Kind, MAX_RAW_BYTES};
use adit_wire::recording::{Mode, Packer, Step, Why, Writer, item, recover};
use bytes::Bytes;
use proptest::prelude::*;

use super::sample::{SESSION, header, items, noise, sample, shown, steps};

/// A chunk that is whole but for its content; what follows a header with this hash.
fn chunk(first: Digest, codec: Codec, raw_bytes: u32, stored: &[u8]) -> Vec<u8> {
    let head = Head {
        tag: first.0[..8].try_into().unwrap(),
        kind: Kind::Items,
        codec,
        sequence: 1,
        position: 0,
        at_ms: 0,
        raw_bytes,
        stored_bytes: stored.len() as u32,
        previous: first,
    };
    let mut out = [&head.encode()[..], stored].concat();
    let hash = Digest::of(b"adit-recording-v1\n", &[&out]);
    out.extend_from_slice(&hash.0);
    out
}

fn begun() -> (Vec<u8>, Digest) {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    (file, writer.tail().hash)
}

proptest! {
    #[test]
    fn random_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let found = recover(&bytes);
        prop_assert!(found.entries.is_empty());
        prop_assert_eq!(found.broken.len(), usize::from(!bytes.is_empty()));
    }

    #[test]
    fn random_items_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..512), at in any::<u64>(), position in any::<u64>()) {
        let length = bytes.len();
        if let Ok(items) = item::decode(bytes.into(), at, position) {
            prop_assert!(items.len() <= length);
        }
    }

    #[test]
    fn a_recording_with_anything_written_over_it_is_read_without_harm(
        spots in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..200)), 1..6),
    ) {
        let mut file = sample(SESSION).file;
        for (at, bytes) in spots {
            let at = at.index(file.len());
            let until = (at + bytes.len()).min(file.len());
            file[at..until].copy_from_slice(&bytes[..until - at]);
        }
        let covered: u64 = steps(&[&file]).iter().map(|step| match step {
            Step::Chunk(entry, _) => entry.bytes,
            Step::Seal { .. } => 100,
            Step::Broken(broken) => broken.until - broken.first,
        }).sum();
        prop_assert_eq!(covered, file.len() as u64, "every byte is told of once");
    }
}

#[test]
fn a_length_over_the_cap_is_refused_before_anything_is_read() {
    let (mut file, first) = begun();
    let mut bytes = chunk(first, Codec::Plain, 4, b"abcd");
    bytes[38..46].copy_from_slice(&[0xff; 8]);
    file.extend_from_slice(&bytes);
    assert_eq!(recover(&file).broken.len(), 1);
    assert!(Head::decode(bytes[..HEAD_BYTES].try_into().unwrap()).is_err());
}

#[test]
fn a_body_that_unpacks_to_more_than_it_declares_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    for declared in [MAX_RAW_BYTES as u32, bomb.len() as u32 + 1] {
        let (mut file, first) = begun();
        file.extend_from_slice(&chunk(first, Codec::Zstd, declared, &bomb));
        let found = recover(&file);
        assert_eq!(found.entries.len(), 1);
        assert!(matches!(found.broken[0].why, Why::Content | Why::Head(_)), "{:?}", found.broken);
    }
}

#[test]
fn a_body_that_unpacks_to_less_than_it_declares_is_refused() {
    let (mut file, first) = begun();
    let small = zstd::bulk::compress(&[1; 100], 1).unwrap();
    file.extend_from_slice(&chunk(first, Codec::Zstd, 101, &small));
    assert_eq!(recover(&file).broken[0].why, Why::Content);
}

#[test]
fn what_a_shell_prints_never_passes_for_a_chunk_of_its_own_recording() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    let head = file.len();
    let foreign = Digest::of(b"the shell can't know the hash of the header", &[]);
    let forged = [noise(9, 300), chunk(foreign, Codec::Plain, 4, &[5, 0, 1, b'!'])].concat();
    writer.output(1, 0, &forged);
    writer.cut(&mut packer, &mut file);
    assert_eq!(shown(&file), forged);
    file[head + 20] ^= 1;
    assert_eq!(items(&file), [], "the forged chunk inside the broken one is not taken");
}

#[test]
fn a_file_of_heads_that_all_hash_in_vain_is_read_in_linear_time() {
    let (mut file, first) = begun();
    let stored = vec![0; MAX_RAW_BYTES];
    let head = &chunk(first, Codec::Plain, MAX_RAW_BYTES as u32, &stored)[..HEAD_BYTES];
    file.extend_from_slice(&head.repeat(40_000));
    let started = Instant::now();
    let found = recover(&file);
    // In vain without a bound, this hashes ten gigabytes.
    assert!(started.elapsed().as_secs() < 30);
    assert_eq!((found.entries.len(), found.broken.len()), (1, 1));
}

#[test]
fn items_that_lie_about_themselves_are_refused() {
    let bad: [&[u8]; 11] = [
        &[9, 0, 0],
        &[1, 0, 5, b'x'],
        &[1],
        &[1, 0x80, 0x00, 0],
        &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        &[4, 0, 3, 0, 0, 0],
        &[5, 0, 1, 0xff],
        &[6, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        &[7, 0, 1, 2],
        &[3, 0, 1, 9],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    for bytes in bad {
        assert!(item::decode(Bytes::copy_from_slice(bytes), 0, 0).is_err(), "{bytes:?}");
    }
}
