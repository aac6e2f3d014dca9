//! The files of a machine's enrolment.

use adit_agent::keys::{Admission, Enrolment, KeysError};
use adit_domain::{MachineId, Secret};
use adit_link::dial::BindingRule;
use adit_link::keys::{Keypair, PublicKey};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn enrolment() -> Enrolment {
    Enrolment {
        machine: MachineId::from_bytes(&[1; 16]).expect("sixteen bytes"),
        url: "wss://gateway.example:7892/ws/agent".to_owned(),
        trust: None,
        admission: Admission::Key(Secret::new("cak_secret".to_owned())),
        binding: BindingRule::Exporter,
        link_key: Keypair::from_private([2; 32]),
        session_service: PublicKey([3; 32]),
        authority: [4; 32],
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn an_enrolment_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a folder");
    enrolment().save(dir.path()).expect("it is written");
    let read = Enrolment::load(dir.path()).expect("it is read");
    assert_eq!(
        (read.machine, &read.url, read.binding),
        (enrolment().machine, &enrolment().url, BindingRule::Exporter)
    );
    assert_eq!(read.link_key.public(), enrolment().link_key.public());
    assert!(matches!(read.admission, Admission::Key(key) if key.expose() == "cak_secret"));
}

// AGT-19
#[test]
fn only_its_owner_may_read_an_enrolment() {
    let dir = tempfile::tempdir().expect("a folder");
    enrolment().save(dir.path()).expect("it is written");
    let file = dir.path().join("agent.json");
    assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
        set_mode(&file, mode);
        assert!(matches!(Enrolment::load(dir.path()), Err(KeysError::Exposed { .. })), "{mode:o}");
    }
    set_mode(&file, 0o600);
    assert!(Enrolment::load(dir.path()).is_ok());
}

// AGT-19
#[test]
fn an_enrolment_behind_a_link_is_refused() {
    let (dir, other) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    enrolment().save(other.path()).expect("it is written");
    std::os::unix::fs::symlink(other.path().join("agent.json"), dir.path().join("agent.json"))
        .expect("a link");
    assert!(matches!(Enrolment::load(dir.path()), Err(KeysError::Exposed { .. })));
}

#[test]
fn a_machine_that_has_not_joined_is_told_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = Enrolment::load(dir.path()).expect_err("there is none");
    assert!(
        matches!(error, KeysError::Missing(_)) && error.to_string().contains("adit agent join"),
        "{error}"
    );
}

#[test]
fn a_damaged_enrolment_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    enrolment().save(dir.path()).expect("it is written");
    let file = dir.path().join("agent.json");
    let text =
        std::fs::read_to_string(&file).expect("text").replace("linkKey\": \"02", "linkKey\": \"0x");
    std::fs::write(&file, text).expect("it is ours");
    assert!(matches!(Enrolment::load(dir.path()), Err(KeysError::Damaged(_))));
}

#[test]
fn keys_are_not_printed() {
    let shown = format!("{:?}", enrolment());
    assert!(!shown.contains("cak_secret") && !shown.contains("0202"), "{shown}");
}
