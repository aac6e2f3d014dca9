use adit_domain::{MachineLabel, TenantId, Timestamp};
use adit_store::MachineFacts;
use rcgen::KeyUsagePurpose;
use uuid::Uuid;

use super::*;
use crate::random::SystemClock;

fn machine() -> Machine {
    Machine {
        id: MachineId(Uuid::from_u128(5)),
        tenant: TenantId::SEED,
        label: "web-1".parse::<MachineLabel>().unwrap(),
        facts: MachineFacts::default(),
        tags: std::sync::Arc::default(),
        team: None,
        link_key: [0; 32],
        instance: None,
        added_at: Timestamp(0),
        last_seen_at: None,
        removed_at: None,
    }
}

fn read(pem: &str) -> Vec<u8> {
    ::pem::parse(pem).unwrap().into_contents()
}

#[test]
fn a_machines_certificate_names_that_machine_and_nothing_that_it_asked_for() {
    // AGT-06
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::load(dir.path(), &SystemClock).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut greedy =
        CertificateParams::new(vec!["admin".to_owned(), "gateway.example".to_owned()]).unwrap();
    greedy.distinguished_name = named("admin");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let asked = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let given = match Request::read(&asked) {
        Ok(request) => pki.certify_machine(&request, &machine()).unwrap(),
        Err(refusal) => {
            assert_eq!(refusal.code(), Code::RequestInvalid);
            return;
        }
    };
    let der = read(&given.pem);
    assert_eq!(machine_of(&der), Some(machine().id));
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=agent:web-1");
    assert!(!certificate.is_ca());
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
}

#[test]
fn the_authority_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::load(dir.path(), &SystemClock).unwrap().ca_pem().to_owned();
    assert_eq!(Pki::load(dir.path(), &SystemClock).unwrap().ca_pem(), first);
}

#[test]
fn what_is_no_request_is_refused() {
    assert!(Request::read("not PEM").is_err());
    assert!(
        Request::read(
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        )
        .is_err()
    );
}
