use std::time::Duration as Length;

use rcgen::{KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _};
use uuid::Uuid;

use super::*;
use crate::random::{SystemClock, SystemIds};

const DAY: Length = Length::from_secs(86_400);

fn machine() -> MachineId {
    MachineId(Uuid::from_u128(5))
}

fn request(key: &KeyPair) -> Request {
    let asked = CertificateParams::default().serialize_request(key).unwrap();
    Request::read(&asked.pem().unwrap()).unwrap()
}

fn certified(pki: &Pki, request: &Request, name: &str) -> Made {
    let now = SystemClock.now();
    pki.certify(request, &name.parse().unwrap(), Some(machine()), (DAY, now), &SystemIds).unwrap()
}

/// Gives the certificates of a PEM text, DER.
fn read(pem: &str) -> Vec<Vec<u8>> {
    ::pem::parse_many(pem).unwrap().into_iter().map(::pem::Pem::into_contents).collect()
}

#[test]
fn a_certificate_holds_the_servers_names_and_nothing_that_was_asked_for() {
    // AGT-06
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::load(dir.path(), &SystemClock).unwrap();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = vec!["admin".to_owned(), "gateway.example".to_owned()];
        let mut greedy = CertificateParams::new(names).unwrap();
        greedy.distinguished_name = named("admin");
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let asked = greedy.serialize_request(&key).unwrap().pem().unwrap();
        let made = certified(&pki, &Request::read(&asked).unwrap(), "agent:web-1");
        let chain = read(&made.pem);
        let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=agent:web-1");
        assert_eq!(machine_of(&certificate), Some(machine()));
        assert!(!certificate.is_ca());
        let constraints = certificate.basic_constraints().unwrap().unwrap().value;
        assert!(!constraints.ca && constraints.path_len_constraint.is_none());
        let uses = certificate.key_usage().unwrap().unwrap().value;
        assert!(uses.digital_signature() && !uses.key_cert_sign() && !uses.crl_sign());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert_eq!(made.serial, hex::encode(certificate.raw_serial()));
        assert_eq!(made.fingerprint, fingerprint(&chain[0]));
        assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
    }
}

#[test]
fn a_key_of_another_kind_gets_no_certificate() {
    // AGT-06
    for (what, pem) in REFUSED {
        assert_eq!(Request::read(pem).unwrap_err().code(), Code::RequestInvalid, "{what}");
    }
}

#[test]
fn a_request_that_was_tampered_with_is_refused() {
    let key = KeyPair::generate().unwrap();
    let asked = CertificateParams::default().serialize_request(&key).unwrap();
    let mut der = asked.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let pem = ::pem::encode(&::pem::Pem::new("CERTIFICATE REQUEST", der));
    assert!(Request::read(&pem).is_err());
    assert!(Request::read("not PEM").is_err());
    let other = ::pem::encode(&::pem::Pem::new("CERTIFICATE", asked.der().to_vec()));
    assert!(Request::read(&other).is_err());
}

#[test]
fn the_authority_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::load(dir.path(), &SystemClock).unwrap().list();
    assert_eq!(Pki::load(dir.path(), &SystemClock).unwrap().list(), first);
    assert_eq!(first.iter().map(|a| a.signs).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_new_issuing_authority_signs_and_the_one_before_stays_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::load(dir.path(), &SystemClock).unwrap();
    let request = request(&KeyPair::generate().unwrap());
    let before = certified(&pki, &request, "agent:web-1");
    let mut rotations = pki.rotations();
    let next = pki.rotate(SystemClock.now()).unwrap();
    assert!(rotations.has_changed().unwrap());
    assert_eq!(*rotations.borrow_and_update(), 2);
    let after = certified(&pki, &request, "agent:web-1");
    assert_eq!((after.issuer.as_str(), next.signs), (next.name.as_str(), true));
    assert_ne!(before.issuer, after.issuer);
    assert_eq!(pki.anchors().len(), 3);
    let read_again = Pki::load(dir.path(), &SystemClock).unwrap();
    assert_eq!(read_again.list(), pki.list());
}

#[test]
fn without_the_roots_key_all_goes_on_but_rotation() {
    let dir = tempfile::tempdir().unwrap();
    drop(Pki::load(dir.path(), &SystemClock).unwrap());
    fs::rename(dir.path().join("ca.key"), dir.path().join("elsewhere")).unwrap();
    let pki = Pki::load(dir.path(), &SystemClock).unwrap();
    certified(&pki, &request(&KeyPair::generate().unwrap()), "admin");
    assert_eq!(pki.rotate(SystemClock.now()).unwrap_err().code(), Code::Conflict);
    fs::rename(dir.path().join("elsewhere"), dir.path().join("ca.key")).unwrap();
    assert!(Pki::load(dir.path(), &SystemClock).unwrap().rotate(SystemClock.now()).is_ok());
}

#[test]
fn an_authority_of_an_earlier_version_becomes_the_root_and_its_certificates_are_known() {
    let dir = tempfile::tempdir().unwrap();
    // As earlier versions made it: one authority that signs machines itself.
    let now = SystemClock.now();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Adit machines");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = moment(now + DAY * 3650);
    let old = params.self_signed(&key).unwrap();
    write_private(&dir.path().join("ca.key"), key.serialize_pem().as_bytes()).unwrap();
    write_private(&dir.path().join("ca.pem"), old.pem().as_bytes()).unwrap();
    let mut early = leaf("agent:web-1", now, now + DAY * 825);
    early.subject_alt_names = vec![SanType::URI(machine_uri(machine()).try_into().unwrap())];
    let issuer = Issuer::from_ca_cert_pem(&old.pem(), &key).unwrap();
    let early = early.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let pki = Pki::load(dir.path(), &SystemClock).unwrap();
    assert_eq!(pki.read_early(early.der()).unwrap().machine, machine());
    let root = read(&pki.ca_pem()).remove(0);
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    let (_, before) = X509Certificate::from_der(old.der()).unwrap();
    assert_eq!(root.public_key().raw, before.public_key().raw);
    assert_eq!(root.subject(), before.subject());
    assert_eq!(root.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(1));
    let (_, leaf) = X509Certificate::from_der(early.der()).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
    let made = certified(&pki, &request(&KeyPair::generate().unwrap()), "agent:web-1");
    assert!(pki.read_early(&read(&made.pem)[0]).is_none(), "today's come from the database alone");
}

/// Requests with keys that are not taken, made by `openssl req -new -subj /CN=x -newkey …`.
const REFUSED: &[(&str, &str)] = &[
    (
        "RSA with 512 bits",
        "-----BEGIN CERTIFICATE REQUEST-----\nMIHFMHECAQAwDDEKMAgGA1UEAwwBeDBcMA0GCSqGSIb3DQEBAQUAA0sAMEgCQQDF\nL73KwHN++UGJO4F+JGN+C//3hWx6VSR9d/7d2jAEKyIHNc3qYIVgCFvT90QCtpgr\nAOgo8r8ATTeLdw6ne3QRAgMBAAGgADANBgkqhkiG9w0BAQsFAANBAJC4AzerMRoi\nU6YNEJwHHPKFesjfOd8TwRK2wrxmfBTXFvAeTClJV9kfNpcl3W5+laYLgdsLINco\nXsBm/aiwgLk=\n-----END CERTIFICATE REQUEST-----\n",
    ),
    (
        "RSA with 2048 bits",
        "-----BEGIN CERTIFICATE REQUEST-----\nMIICUTCCATkCAQAwDDEKMAgGA1UEAwwBeDCCASIwDQYJKoZIhvcNAQEBBQADggEP\nADCCAQoCggEBALlt2xP9gqde2/ZC42U1QuGFdOLI/BeofBUiAz411SvNFUu4BgxQ\nLdm2dcSxS014JcREbKE/lkvoi9eSou1b8YmpfIAgheP8wXB658drhogAH5zcfVoD\naKXDvOd04iJZX5FKR69KS+ZJlBto+njNSNCbXf73yDkjhqf15bpHvkrfDGxudiMG\ngCr/W8V+OnZcUDcsfmXSb8GB0ZGTfxRIRpqLfWIqpSSPPghmbeRLQvpLIYSCNFRf\nWJRr455LPRb6ClafFK5ZVkKGAy7md4dBSvKp0svn7dyTadbTNhV+pLAZhNzGZTw4\ngQdY8MyKRINMAHoEcXwjyhw2LaSxlhyzBVsCAwEAAaAAMA0GCSqGSIb3DQEBCwUA\nA4IBAQB+bXejQIB/oUVEybmQ0dj3p8wWs6RiB18/34Z1fhMN+W+tiYMIo8LNJOtB\n0hsGd4yw6+Q4LRgM8VAo/YFTWYjcnY4mEafDiwi2at+P3Ug6chD49j/DjbTrHyKy\nPy6w1BMXY4jMs9cVoTMhVkPecdqr9rUwKOaWPt72X/+Buk3VTz5VegAh7kCq6MOb\nBw9bpF050lpC9qwbrkXb1xnQEEyFcgmxYcz/+o4Pb/cASwWa9/d5vpMTLx3pIpuj\nWUexPMu1XedAQ6/sXU48gUfWqe/+6gO283WkGJP81jUJWxZbPS2QMjCsAY5LOr0a\n4KSHvSEVulQm3aIsSBafEhlK4ioL\n-----END CERTIFICATE REQUEST-----\n",
    ),
    (
        "the curve P-521",
        "-----BEGIN CERTIFICATE REQUEST-----\nMIIBTzCBsQIBADAMMQowCAYDVQQDDAF4MIGbMBAGByqGSM49AgEGBSuBBAAjA4GG\nAAQAc8z0yvf2YPlgdLNWX9L/S4X9tiAeG9p8oMlpAi8Bw1bX0NIT+QaAULLb0UDt\n+ClAiRrwDOJ6+e8zk6Yke5IidLMBCIoaAUdhW3w5hFrNZA3QmvPH5KGxG4COb0ov\nEybSfwPAX/jmkix/sbdZD7dQoXgzsxrKbRODJwvMz+ZTXtmXPECgADAKBggqhkjO\nPQQDAgOBjAAwgYgCQgD5w6chaEN4eE0d8TfkL89/UkWyXDoPqFOhn1QV0DW9HMUy\njgHmdx1Lpk+iCowK/+VjFvGMj8Pf2Wy/oxiPAWfXrgJCAeZQUHj7zUkdYeMVoHIu\nN9r0M+8V5z1Ce6OJQhqMAJBQBzT4Qu9DKDvzO3LrJn9l4/4PmfPNW0M/kewtVAEj\nk9nw\n-----END CERTIFICATE REQUEST-----\n",
    ),
    (
        "the curve secp256k1",
        "-----BEGIN CERTIFICATE REQUEST-----\nMIHDMGsCAQAwDDEKMAgGA1UEAwwBeDBWMBAGByqGSM49AgEGBSuBBAAKA0IABNe9\niNOTDoOj7dXStTqsAUcTBDax3CpTyXKQycDClruokfw60Q0IodPhmb2MfTePW11i\nHVlrSMqIbg2+DV+Ov1ugADAKBggqhkjOPQQDAgNIADBFAiAwSXy+oZuNs95YDoju\npCWuh4gic636auw/4hsE+YvvjwIhALIUPy9KcaoHx3tiXurN4IbbmNnnkJbtrH/W\nrk668X6a\n-----END CERTIFICATE REQUEST-----\n",
    ),
];
