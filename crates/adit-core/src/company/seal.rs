//! Seals what the gateway must read again and nobody else may: PKCE verifiers and refresh tokens.

use adit_domain::{Ids, Secret};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// What a sealed text is for; one for another purpose does not open.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// The PKCE verifier of a sign-in on its way.
    Verifier,
    /// What an issuer is asked again with.
    Refresh,
}

impl Purpose {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Verifier => b"pkce verifier",
            Self::Refresh => b"refresh token",
        }
    }
}

/// The key that seals.
pub struct Sealer(LessSafeKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// Makes one of a key.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals a text under a random nonce, of which 2^32 fit one key (NIST SP 800-38D §8.3).
    pub fn seal(&self, purpose: Purpose, text: &str, ids: &dyn Ids) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        ids.fill(&mut nonce);
        let mut sealed = text.as_bytes().to_vec();
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(sealing, Aad::from(purpose.name()), &mut sealed)
            .expect("a token is shorter than AES-GCM's limit");
        [&nonce[..], &sealed].concat()
    }

    /// Opens a sealed text; none when it was changed, or sealed with another key or for another purpose.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Secret<String>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(purpose.name()), &mut text).ok()?;
        String::from_utf8(opened.to_vec()).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    #[test]
    fn what_was_sealed_opens_for_its_purpose_and_unchanged_only() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal(Purpose::Refresh, "s3cret", &SystemIds);
        let opened = sealer.open(Purpose::Refresh, &sealed).unwrap();
        assert_eq!(opened.expose(), "s3cret");
        assert!(!sealed.windows(6).any(|part| part == b"s3cret"));
        assert!(sealer.open(Purpose::Verifier, &sealed).is_none());
        assert!(Sealer::new(&[8; 32]).open(Purpose::Refresh, &sealed).is_none());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(sealer.open(Purpose::Refresh, &bent).is_none(), "{at}");
        }
        assert!(sealer.open(Purpose::Refresh, &[]).is_none());
    }
}
