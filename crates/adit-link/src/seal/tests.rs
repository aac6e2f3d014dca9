use adit_wire::frame::MAX_OUTPUT;
use proptest::prelude::*;

use super::*;
use crate::fixture::{MACHINE, SERVICE, channel, data, keypair, output, preamble, shake};

fn first_message(session: u8) -> (Initiator, Bytes) {
    let service = keypair(SERVICE).public();
    Initiator::start(preamble(session), &keypair(MACHINE), service, &Binding::None).unwrap()
}

fn responds(first: &[u8]) -> Result<Responder, SealError> {
    Responder::read(&Bytes::copy_from_slice(first), &keypair(SERVICE), &Binding::None)
}

#[test]
fn frames_pass_both_ways_in_order() {
    let (mut agent, mut gateway) = channel(1);
    for position in 0..3 {
        let frame = output(position, b"hello");
        assert_eq!(gateway.open(&agent.seal(&frame).unwrap()).unwrap(), frame);
        let frame = data(Kind::Input, position, b"key");
        assert_eq!(agent.open(&gateway.seal(&frame).unwrap()).unwrap(), frame);
    }
}

#[test]
fn the_longest_frame_of_each_kind_fits_one_message() {
    let (mut agent, mut gateway) = channel(1);
    for kind in [Kind::Output, Kind::Input, Kind::Stderr, Kind::Backlog] {
        let frame = data(kind, 7, &vec![b'x'; kind.max_payload()]);
        let message = agent.seal(&frame).unwrap();
        assert_eq!(gateway.open(&message).unwrap(), frame);
    }
}

#[test]
fn a_frame_over_the_longest_message_is_not_sealed() {
    let (mut agent, mut gateway) = channel(1);
    let large = Frame::Control(Bytes::from(vec![0; MAX_PLAINTEXT]));
    assert!(matches!(agent.seal(&large), Err(SealError::Large(_))));
    let frame = output(0, b"the channel goes on");
    assert_eq!(gateway.open(&agent.seal(&frame).unwrap()).unwrap(), frame);
}

#[test]
fn the_gateway_learns_who_knocks_and_what_for() {
    let (_, first) = first_message(9);
    let responder = responds(&first).unwrap();
    assert_eq!(responder.machine(), keypair(MACHINE).public());
    assert_eq!(responder.preamble().session_id[..], [9; 16]);
}

/// What an attacker on the path does with message `n` of ten.
#[derive(Clone, Copy, Debug)]
enum Attack {
    Drop,
    Swap,
    Repeat,
    Reflect,
    Truncate(usize),
    Flip(usize),
    FromOtherSession,
}

fn attacks() -> impl Strategy<Value = Attack> {
    prop_oneof![
        Just(Attack::Drop),
        Just(Attack::Swap),
        Just(Attack::Repeat),
        Just(Attack::Reflect),
        (0_usize..64).prop_map(Attack::Truncate),
        (0_usize..64 * 8).prop_map(Attack::Flip),
        Just(Attack::FromOtherSession),
    ]
}

/// Gives the messages as they arrive, and how many of them arrive as they were sent.
fn carry(
    mut sent: Vec<Bytes>,
    n: usize,
    attack: Attack,
    reflected: &Bytes,
    foreign: &Bytes,
) -> (Vec<Bytes>, usize) {
    match attack {
        Attack::Drop => drop(sent.remove(n)),
        Attack::Swap => sent.swap(n, n + 1),
        Attack::Repeat => {
            let again = sent[n].clone();
            sent.insert(n + 1, again);
            return (sent, n + 1);
        }
        Attack::Reflect => sent[n] = reflected.clone(),
        Attack::Truncate(by) => {
            let len = sent[n].len();
            sent[n].truncate(len - 1 - by % len);
        }
        Attack::Flip(bit) => {
            let mut flipped = sent[n].to_vec();
            let bit = bit % (flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            sent[n] = flipped.into();
        }
        Attack::FromOtherSession => sent[n] = foreign.clone(),
    }
    (sent, n)
}

proptest! {
    // BEY-1, TOK-02, TOK-04, TOK-05, TOK-15, TOK-16
    #[test]
    fn nothing_that_was_tampered_with_is_accepted(n in 0_usize..9, attack in attacks()) {
        let (mut agent, mut gateway) = channel(1);
        let (mut other, _) = channel(2);
        let frames: Vec<Frame> = (0..10).map(|i| output(i, b"ls -l")).collect();
        let sent: Vec<Bytes> = frames.iter().map(|f| agent.seal(f).unwrap()).collect();
        let foreign: Vec<Bytes> = frames.iter().map(|f| other.seal(f).unwrap()).collect();
        let reflected: Vec<Bytes> = frames.iter().map(|f| gateway.seal(f).unwrap()).collect();

        let (arrived, intact) = carry(sent, n, attack, &reflected[n], &foreign[n]);
        let opened: Vec<Frame> = arrived.iter().map_while(|m| gateway.open(m).ok()).collect();

        prop_assert_eq!(&opened[..], &frames[..intact]);
        prop_assert!(matches!(gateway.open(&arrived[0]), Err(SealError::Poisoned)));
    }

    #[test]
    fn no_first_message_makes_the_gateway_panic(
        message in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(responds(&message).is_err());
    }

    // TOK-02
    #[test]
    fn a_first_message_with_one_bit_changed_is_refused(bit in 0_usize..200 * 8) {
        let (initiator, first) = first_message(1);
        let mut flipped = first.to_vec();
        let bit = bit % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let reply = responds(&flipped).and_then(Responder::answer);
        prop_assert!(reply.and_then(|(_, reply)| initiator.finish(&reply)).is_err());
    }
}

// TOK-03
#[test]
fn a_frame_cannot_be_made_one_of_another_kind() {
    for kind in [0_u8, 1, 3, 4] {
        let (mut agent, mut gateway) = channel(1);
        let mut relabelled = agent.seal(&data(Kind::Input, 0, b"id")).unwrap().to_vec();
        relabelled[0] ^= Kind::Input as u8 ^ kind;
        assert!(matches!(gateway.open(&relabelled), Err(SealError::Open { number: 0, .. })));
    }
}

#[test]
fn a_sealed_message_that_holds_no_frame_closes_the_channel() {
    let (mut agent, mut gateway) = channel(1);
    let message = agent.seal_parts(&[9], b"no frame has the kind nine").unwrap();
    assert!(matches!(gateway.open(&message), Err(SealError::Frame { .. })));
    assert!(matches!(gateway.seal(&output(0, b"x")), Err(SealError::Poisoned)));
}

#[test]
fn output_over_the_cap_is_no_frame() {
    let (mut agent, mut gateway) = channel(1);
    let header = output(0, b"").write();
    let message = agent.seal_parts(&header, &vec![0; MAX_OUTPUT + 1]).unwrap();
    assert!(matches!(gateway.open(&message), Err(SealError::Frame { .. })));
}

// TOK-31
#[test]
fn a_version_stripped_on_the_way_fails_the_handshake() {
    let (initiator, first) = first_message(1);
    let len = usize::from(u16::from_be_bytes([first[0], first[1]]));
    let mut changed = pb::Preamble::decode(&first[2..2 + len]).unwrap();
    changed.versions.insert(0, 2);
    let mut forged = lengthened(&changed).unwrap();
    forged.extend_from_slice(&first[2 + len..]);
    assert!(matches!(responds(&forged), Err(SealError::Handshake(_))));
    drop(initiator);
}

// TOK-31
#[test]
fn a_machine_that_speaks_no_version_of_ours_is_refused() {
    let newer = pb::Preamble { versions: vec![2], binding: "none".into(), ..preamble(1) };
    let mut first = lengthened(&newer).unwrap();
    first.extend_from_slice(&[0; FIRST_LEN]);
    assert!(matches!(responds(&first), Err(SealError::Version)));
}

// TOK-35
#[test]
fn a_handshake_carried_over_another_tls_connection_fails() {
    let (here, there) = (Binding::Exporter([1; 32]), Binding::Exporter([2; 32]));
    assert!(shake(1, &here, &here).is_ok());
    assert!(matches!(shake(1, &here, &there), Err(SealError::Handshake(_))));
}

// TOK-35
#[test]
fn a_binding_is_not_given_up_by_either_end_alone() {
    let bound = Binding::Exporter([1; 32]);
    assert!(matches!(shake(1, &bound, &Binding::None), Err(SealError::Binding { .. })));
    assert!(matches!(shake(1, &Binding::None, &bound), Err(SealError::Binding { .. })));
}

#[test]
fn a_gateway_without_the_services_key_opens_nothing() {
    let (initiator, first) = first_message(1);
    let impostor = Responder::read(&first, &keypair(7), &Binding::None);
    assert!(matches!(impostor, Err(SealError::Handshake(_))));
    let (_, other) = first_message(1);
    let (_, reply) = responds(&other).unwrap().answer().unwrap();
    assert!(matches!(initiator.finish(&reply), Err(SealError::Handshake(_))));
}

// TOK-33
#[test]
fn a_service_key_of_low_order_is_refused() {
    let weak = PublicKey([0; 32]);
    let start = Initiator::start(preamble(1), &keypair(MACHINE), weak, &Binding::None);
    assert!(matches!(start, Err(SealError::Handshake(snow::Error::Dh))));
}

// TOK-33
#[test]
fn an_ephemeral_key_of_low_order_is_refused() {
    let (_, first) = first_message(1);
    let mut forged = first.to_vec();
    let noise = forged.len() - FIRST_LEN;
    forged[noise..noise + KEY_LEN].fill(0);
    assert!(matches!(responds(&forged), Err(SealError::Handshake(snow::Error::Dh))));
}

#[test]
fn a_preamble_over_the_cap_is_refused_on_both_ends() {
    let large = pb::Preamble { binding: "x".repeat(MAX_PREAMBLE + 1), ..preamble(1) };
    assert!(matches!(lengthened(&large), Err(SealError::Large(_))));
    let mut first = vec![0xff; 2 + 0xffff + FIRST_LEN];
    assert!(matches!(responds(&first), Err(SealError::First(_))));
    first.truncate(1);
    assert!(matches!(responds(&first), Err(SealError::First(_))));
}

#[test]
fn a_channel_of_ours_is_one_that_plain_snow_understands() {
    let params: snow::params::NoiseParams = "Noise_IK_25519_ChaChaPoly_SHA256".parse().unwrap();
    let (initiator, first) = first_message(1);
    let cut = first.len() - FIRST_LEN;
    let service = keypair(SERVICE);
    let mut plain = snow::Builder::new(params)
        .local_private_key(service.private().expose())
        .and_then(|b| {
            b.prologue(&[b"adit-link-v1", &first[..cut], b"none"].concat())?.build_responder()
        })
        .unwrap();
    let mut reply = vec![0; REPLY_LEN];
    plain.read_message(&first[cut..], &mut []).unwrap();
    plain.write_message(&[0, 1], &mut reply).unwrap();
    let mut agent = initiator.finish(&reply).unwrap();
    let mut plain = plain.into_transport_mode().unwrap();

    let sealed = agent.seal(&output(3, b"out")).unwrap();
    let mut opened = vec![0; 64];
    let len = plain.read_message(&sealed, &mut opened).unwrap();
    assert_eq!(opened[..len], output(3, b"out").write()[..]);
    let mut sealed = vec![0; 64];
    let len = plain.write_message(&data(Kind::Input, 0, b"in").write(), &mut sealed).unwrap();
    assert_eq!(agent.open(&sealed[..len]).unwrap(), data(Kind::Input, 0, b"in"));
}
