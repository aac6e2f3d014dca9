//! The lasting X25519 keys that the two ends of a link prove to each other.

use std::fmt;

use adit_domain::{Ids, Secret};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

/// The length of a key, in bytes (RFC 7748 §5).
pub const KEY_LEN: usize = 32;

/// An X25519 public key; equal to another in constant time.
#[derive(Clone, Copy)]
pub struct PublicKey(pub [u8; KEY_LEN]);

/// An X25519 key pair.
#[derive(Clone)]
pub struct Keypair {
    public: PublicKey,
    private: Secret<[u8; KEY_LEN]>,
}

/// A public key with which no secret can be shared: of low order, or not a key at all (RFC 7748 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no secret can be shared with this public key")]
pub struct WeakKey;

impl Keypair {
    /// Makes a new key pair.
    pub fn generate(ids: &dyn Ids) -> Self {
        let mut private = Zeroizing::new([0; KEY_LEN]);
        ids.fill(&mut *private);
        Self::from_private(*private)
    }

    /// Takes a private key from where it was kept.
    pub fn from_private(private: [u8; KEY_LEN]) -> Self {
        let public = public_of(&private);
        Self { public, private: Secret::new(private) }
    }

    /// Gives the public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Gives the private key to the file that keeps it.
    pub fn private(&self) -> &Secret<[u8; KEY_LEN]> {
        &self.private
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?})", self.public)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = std::array::TryFromSliceError;
    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// Computes the public key of a private one.
pub(crate) fn public_of(private: &[u8; KEY_LEN]) -> PublicKey {
    let key = PrivateKey::from_private_key(&X25519, private)
        .and_then(|key| Ok(key.compute_public_key()?))
        .expect("every 32 bytes are an X25519 private key");
    PublicKey(key.as_ref().try_into().expect("an X25519 public key is 32 bytes"))
}

/// Computes the secret shared by a private and a public key.
///
/// # Errors
/// [`WeakKey`] when the secret would be all zeros, which the peer then knows without a private key.
pub(crate) fn shared_secret(
    private: &[u8; KEY_LEN],
    public: &[u8],
) -> Result<Zeroizing<[u8; KEY_LEN]>, WeakKey> {
    let key = PrivateKey::from_private_key(&X25519, private).map_err(|_| WeakKey)?;
    agree(&key, UnparsedPublicKey::new(&X25519, public), WeakKey, |secret| {
        let secret: [u8; KEY_LEN] = secret.try_into().map_err(|_| WeakKey)?;
        if verify_slices_are_equal(&secret, &[0; KEY_LEN]).is_ok() {
            return Err(WeakKey);
        }
        Ok(Zeroizing::new(secret))
    })
}

#[cfg(test)]
#[path = "keys/tests.rs"]
mod tests;
