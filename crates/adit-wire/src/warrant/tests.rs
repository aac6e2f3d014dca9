use aws_lc_rs::signature::KeyPair;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const SERVICE: [u8; 32] = [7; 32];

fn machine() -> MachineId {
    MachineId::from_bytes(&[2; 16]).unwrap()
}

fn warrant() -> pb::Warrant {
    pb::Warrant {
        session_id: vec![1; 16].into(),
        machine_id: vec![2; 16].into(),
        session_service: SERVICE.to_vec().into(),
        capabilities: vec!["terminal:spawn".into(), "terminal:input".into()],
        expires_at_ms: NOW.wire() + 1,
        ends_at_ms: NOW.wire() + 1,
        epoch: 3,
        ..pb::Warrant::default()
    }
}

fn checked(
    change: impl FnOnce(&mut pb::Warrant, &mut pb::SignedWarrant),
) -> Result<Checked, Refusal> {
    let key = Ed25519KeyPair::generate().unwrap();
    let mut warrant = warrant();
    let mut after = pb::SignedWarrant::default();
    change(&mut warrant, &mut after);
    let mut signed = sign(&warrant, &key);
    if !after.signature.is_empty() {
        signed.signature = after.signature;
    }
    if !after.warrant.is_empty() {
        signed.warrant = after.warrant;
    }
    let authority = key.public_key().as_ref().to_vec();
    check(
        &signed,
        Expected {
            authority: &authority,
            machine: machine(),
            session_service: &SERVICE,
            epoch: 3,
            now: NOW,
        },
    )
}

#[test]
fn a_warrant_of_the_authority_is_accepted() {
    let checked = checked(|_, _| {}).unwrap();
    assert_eq!(checked.session.as_bytes(), &[1; 16]);
    assert_eq!(checked.capabilities.names(), ["terminal:spawn", "terminal:input"]);
}

#[test]
fn a_machine_refuses_a_warrant_that_is_not_for_it() {
    // AGT-17, AGT-18, TOK-05
    assert_eq!(checked(|w, _| w.machine_id = vec![9; 16].into()), Err(Refusal::Machine));
    assert_eq!(
        checked(|w, _| w.session_service = vec![9; 32].into()),
        Err(Refusal::SessionService)
    );
    assert_eq!(checked(|w, _| w.expires_at_ms = NOW.wire()), Err(Refusal::Expired));
    assert_eq!(checked(|w, _| w.ends_at_ms = NOW.wire()), Err(Refusal::Expired));
    assert_eq!(checked(|w, _| w.epoch = 2), Err(Refusal::Epoch));
    assert_eq!(checked(|w, _| w.capabilities = vec!["terminal:fly".into()]), Err(Refusal::Form));
}

#[test]
fn a_changed_warrant_is_refused() {
    // AGT-18, TOK-24, TOK-33
    assert_eq!(checked(|_, s| s.signature = vec![0; 64].into()), Err(Refusal::Signature));
    assert_eq!(checked(|_, s| s.signature = vec![0; 3].into()), Err(Refusal::Signature));
    let mut bent = warrant();
    bent.recording = "off".into();
    assert_eq!(checked(|_, s| s.warrant = bent.encode_to_vec().into()), Err(Refusal::Signature));
}
