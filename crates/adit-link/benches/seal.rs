//! Sealing and opening one frame on one core: ours, and the same handshake with snow's own primitives beside it.

use std::hint::black_box;

use adit_domain::Ids;
use adit_link::keys::Keypair;
use adit_link::seal::{Binding, Initiator, Responder, Sealed};
use adit_wire::agent::v1::Preamble;
use adit_wire::frame::Kind;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use snow::TransportState;
use uuid::Uuid;

const SIZES: [usize; 3] = [1, 16 * 1024, 32 * 1024];

struct Repeat(u8);

impl Ids for Repeat {
    fn uuid(&self) -> Uuid {
        Uuid::from_bytes([self.0; 16])
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn channel() -> (Sealed, Sealed) {
    let (machine, service) = (Keypair::generate(&Repeat(1)), Keypair::generate(&Repeat(2)));
    let (initiator, first) =
        Initiator::start(Preamble::default(), &machine, service.public(), &Binding::None)
            .expect("the keys are good");
    let responder = Responder::read(&first, &service, &Binding::None).expect("the ends agree");
    let (gateway, reply) = responder.answer().expect("a reply is made");
    (initiator.finish(&reply).expect("the ends agree"), gateway)
}

/// The same channel with snow's default resolver.
fn plain_channel() -> (TransportState, TransportState) {
    let builder =
        || snow::Builder::new("Noise_IK_25519_ChaChaPoly_SHA256".parse().expect("snow knows it"));
    let service = Keypair::generate(&Repeat(2));
    let mut initiator = builder()
        .local_private_key(&[1; 32])
        .and_then(|b| b.remote_public_key(&service.public().0)?.build_initiator())
        .expect("the keys are good");
    let mut responder = builder()
        .local_private_key(&[2; 32])
        .and_then(snow::Builder::build_responder)
        .expect("the keys are good");
    let (mut first, mut reply) = ([0; 96], [0; 48]);
    initiator.write_message(&[], &mut first).expect("it fits");
    responder.read_message(&first, &mut []).expect("the ends agree");
    responder.write_message(&[], &mut reply).expect("it fits");
    initiator.read_message(&reply, &mut []).expect("the ends agree");
    (
        initiator.into_transport_mode().expect("the handshake is over"),
        responder.into_transport_mode().expect("the handshake is over"),
    )
}

fn seal_and_open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal_and_open");
    for size in SIZES {
        let payload = vec![0x5a; size];
        group.throughput(Throughput::Bytes(size as u64));
        let (mut agent, mut gateway) = channel();
        group.bench_function(format!("ours/{size}"), |b| {
            b.iter(|| {
                let message = agent.seal_data(Kind::Output, 0, &payload).expect("it fits");
                black_box(gateway.open(&message).expect("it is intact"))
            });
        });
        let (mut agent, mut gateway) = plain_channel();
        let (mut message, mut opened) = (vec![0; size + 16], vec![0; size]);
        group.bench_function(format!("snow/{size}"), |b| {
            b.iter(|| {
                agent.write_message(&payload, &mut message).expect("it fits");
                black_box(gateway.read_message(&message, &mut opened).expect("it is intact"))
            });
        });
    }
    group.finish();
}

fn handshake(criterion: &mut Criterion) {
    criterion.bench_function("handshake", |b| b.iter(channel));
}

criterion_group!(benches, seal_and_open, handshake);
criterion_main!(benches);
