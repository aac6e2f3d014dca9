//! Seals what the gateway must read again and nobody else may: PKCE verifiers and refresh tokens.

use adit_domain::{Ids, Secret};

use crate::sealing;

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

/// Seals texts of company sign-ins.
#[derive(Debug)]
pub struct Sealer(sealing::Sealer);

impl Sealer {
    /// Makes one of a key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(sealing::Sealer::new(key))
    }

    /// Seals a text.
    pub fn seal(&self, purpose: Purpose, text: &str, ids: &dyn Ids) -> Vec<u8> {
        self.0.seal(text.as_bytes(), purpose.name(), ids)
    }

    /// Opens a sealed text; none when it was changed, or sealed with another key or for another purpose.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Secret<String>> {
        let opened = self.0.open(sealed, purpose.name())?;
        String::from_utf8(opened).ok().map(Secret::new)
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
