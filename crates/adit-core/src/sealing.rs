//! Seals what the gateway must read again and a reader of the database must not: AES-256-GCM under a key of the session secret.

use adit_domain::Ids;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Seals and opens.
pub struct Sealer(LessSafeKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// Makes a sealer of a derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals a secret for its place: opened anywhere else it is nothing. Gives `[nonce: 12][sealed][tag: 16]`.
    ///
    /// The nonce is random, of which 2^32 fit one key (NIST SP 800-38D §8.3).
    pub fn seal(&self, secret: &[u8], place: &[u8], ids: &dyn Ids) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        ids.fill(&mut nonce);
        let mut sealed = secret.to_vec();
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(sealing, Aad::from(place), &mut sealed)
            .expect("a secret is far below the cipher's limit");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for a place; `None` where the key, the place or a byte is another.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(place), &mut bytes).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    // DESK-6
    #[test]
    fn what_is_sealed_opens_in_its_place_with_its_key_only() {
        let (sealer, other) = (Sealer::new(&[1; 32]), Sealer::new(&[2; 32]));
        let sealed = sealer.seal(b"twenty bytes of one.", b"ann", &SystemIds);
        assert_eq!(sealer.open(&sealed, b"ann").as_deref(), Some(&b"twenty bytes of one."[..]));
        assert_eq!(sealer.open(&sealed, b"ben"), None);
        assert_eq!(other.open(&sealed, b"ann"), None);
        assert_eq!(sealer.open(&sealed[..5], b"ann"), None);
        let twice = [(); 2].map(|()| sealer.seal(b"x", b"ann", &SystemIds));
        assert_ne!(twice[0], twice[1]);
    }
}
