//! A recording to try things on.

use adit_domain::id::SessionId;
use adit_domain::time::Timestamp;
use adit_wire::recording::{
    Content, End, Expected, Header, Item, Mode, Packer, PublicKey, Reader, Report, Scanned, Step,
    Tail, What, Writer, recover, verify,
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

pub const SESSION: u128 = 0x0192_0000_0000_7000_8000_0000_0000_00aa;

pub fn session(id: u128) -> SessionId {
    SessionId::from_bytes(&id.to_be_bytes()).unwrap()
}

pub fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn public(key: &Ed25519KeyPair) -> PublicKey {
    key.public_key().as_ref().try_into().unwrap()
}

pub fn header(id: u128, mode: Mode) -> Header {
    Header {
        session: session(id),
        machine: "db-1".into(),
        principal: "user:ann".into(),
        command: vec![],
        started_at: Timestamp(1_795_000_000_000),
        cols: 80,
        rows: 24,
        mode,
        salt: (id ^ 0x5a5a).to_be_bytes(),
    }
}

pub fn end() -> End {
    End { reason: "shell.exited".into(), exit_status: Some(0), signal: None, length_ms: 9000 }
}

/// Bytes that look random and always are the same.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// A finished recording in six chunks, its tail, and where each chunk starts.
pub struct Sample {
    pub file: Vec<u8>,
    pub output: Vec<u8>,
    pub tail: Tail,
}

pub fn sample(id: u128) -> Sample {
    let (mut packer, mut file, mut output) = (Packer::new(), Vec::new(), Vec::new());
    let mut writer = Writer::begin(&header(id, Mode::Input), &mut packer, &mut file);
    for round in 0..4 {
        let piece = [format!("line {round}\r\n").into_bytes(), noise(round + 1, 40)].concat();
        writer.output(round * 1000, output.len() as u64, &piece);
        writer.input(round * 1000 + 10, "user:ann", b"ls\r");
        output.extend_from_slice(&piece);
        if round == 1 {
            writer.resize(round * 1000 + 20, 100, 30);
            writer.mark(round * 1000 + 30, "here");
        }
        writer.cut(&mut packer, &mut file);
    }
    let tail = writer.end(end(), &key(1), &mut packer, &mut file);
    Sample { file, output, tail }
}

pub fn report(file: &[u8], sample: &Sample) -> Report {
    let keys = [public(&key(1))];
    let expected =
        Expected { session: Some(session(SESSION)), hash: Some(sample.tail.hash), keys: &keys };
    verify(&recover(file), &expected)
}

pub fn starts(found: &Scanned) -> Vec<usize> {
    found.entries.iter().map(|entry| entry.offset as usize).collect()
}

pub fn steps(pieces: &[&[u8]]) -> Vec<Step> {
    let mut reader = Reader::new();
    let mut steps = Vec::new();
    for piece in pieces {
        reader.push(piece);
        steps.extend(std::iter::from_fn(|| reader.next()));
    }
    reader.close();
    steps.extend(std::iter::from_fn(|| reader.next()));
    steps
}

pub fn items(file: &[u8]) -> Vec<Item> {
    let items = |step| match step {
        Step::Chunk(_, Content::Items(items)) => items,
        _ => vec![],
    };
    steps(&[file]).into_iter().flat_map(items).collect()
}

/// Everything that was shown, as far as it is there.
pub fn shown(file: &[u8]) -> Vec<u8> {
    let bytes = |item: Item| match item.what {
        What::Output(bytes) | What::Stderr(bytes) => bytes.to_vec(),
        _ => vec![],
    };
    items(file).into_iter().flat_map(bytes).collect()
}
