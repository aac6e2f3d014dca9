//! Seals what the gateway must read again and a reader of the database must not: AES-256-GCM under a key of the session secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};

/// Seals and opens.
pub struct Sealer(RandomizedNonceKey);

/// The bytes of a nonce, which stand before what is sealed.
const NONCE: usize = 12;

impl Sealer {
    /// Makes a sealer of a derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key has 32 bytes"))
    }

    /// Seals a secret for its place: opened anywhere else it is nothing.
    pub fn seal(&self, secret: &[u8], place: &[u8]) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(place), &mut sealed)
            .expect("a secret is far below the cipher's limit");
        [&nonce.as_ref()[..], &sealed].concat()
    }

    /// Opens what was sealed for a place; `None` where the key, the place or a byte is another.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from(place), &mut bytes).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // DESK-6
    #[test]
    fn what_is_sealed_opens_in_its_place_with_its_key_only() {
        let (sealer, other) = (Sealer::new(&[1; 32]), Sealer::new(&[2; 32]));
        let sealed = sealer.seal(b"twenty bytes of one.", b"ann");
        assert_eq!(sealer.open(&sealed, b"ann").as_deref(), Some(&b"twenty bytes of one."[..]));
        assert_eq!(sealer.open(&sealed, b"ben"), None);
        assert_eq!(other.open(&sealed, b"ann"), None);
        assert_eq!(sealer.open(&sealed[..5], b"ann"), None);
        assert_ne!(sealer.seal(b"x", b"ann"), sealer.seal(b"x", b"ann"));
    }
}
