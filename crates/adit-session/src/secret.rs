//! The two secrets of a session: the service's own and a machine's.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::lower_hex;
use crate::settings::SettingsError;

/// The 256 bits behind `SESSION_TOKEN_SECRET`; it cannot be shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; SECRET_KEY_BYTES]);

impl SecretKey {
    /// Reads 64 hex characters.
    ///
    /// # Errors
    /// Says what is wrong with the value, without the value, and how to make a good one.
    pub fn from_hex(text: &str) -> Result<Self, SettingsError> {
        if text.is_empty() {
            return Err(SettingsError::SecretMissing);
        }
        if text.len() != 2 * SECRET_KEY_BYTES {
            return Err(SettingsError::SecretLength { characters: text.chars().count() });
        }
        let lower = zeroize::Zeroizing::new(text.to_ascii_lowercase());
        let key = Self(lower_hex::read(lower.as_bytes()).ok_or(SettingsError::SecretNotHex)?);
        if key.is_example() {
            return Err(SettingsError::SecretIsExample);
        }
        Ok(key)
    }

    /// Makes a new key from the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; SECRET_KEY_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Writes the 64 hex characters, for the file that keeps the key.
    pub fn expose_hex(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(lower_hex::text(&self.0))
    }

    /// Derives the key that signs one tenant's session tokens.
    pub(crate) fn token_key(&self, tenant: Uuid) -> hmac::Key {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit-session").extract(&self.0);
        let info: [&[u8]; 2] = [b"session token v1", tenant.as_bytes()];
        let okm =
            prk.expand(&info, hmac::HMAC_SHA256).expect("32 bytes are within what HKDF can give");
        hmac::Key::from(okm)
    }

    /// Tells a value that somebody typed, or copied from a page, from one that was drawn.
    ///
    /// A drawn key repeats itself, counts up or has fewer than eight different bytes with a chance below 2^-128.
    fn is_example(&self) -> bool {
        let repeats = (1..=SECRET_KEY_BYTES / 2).any(|period| {
            self.0.iter().skip(period).eq(self.0[..SECRET_KEY_BYTES - period].iter())
        });
        let step = self.0[1].wrapping_sub(self.0[0]);
        let counts = self.0.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
        let mut distinct = self.0;
        distinct.sort_unstable();
        let different = 1 + distinct.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let written = KNOWN_EXAMPLES.iter().any(|example| lower_hex::text(&self.0) == *example);
        repeats || counts || different < DIFFERENT_BYTES_MIN || written
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// A machine's secret of the JSON form; it cannot be shown.
///
/// The HMAC is keyed by the UTF-8 bytes of the secret string itself, so a hash of it, as a database may keep, opens and seals nothing.
#[derive(Clone)]
pub struct MachineSecret(hmac::Key);

impl MachineSecret {
    /// Takes the secret string that the machine was given.
    ///
    /// # Errors
    /// The string is shorter than 16 or longer than 1,024 bytes.
    pub fn new(secret: &str) -> Result<Self, BadMachineSecret> {
        if !(MACHINE_SECRET_BYTES_MIN..=MACHINE_SECRET_BYTES_MAX).contains(&secret.len()) {
            return Err(BadMachineSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    pub(crate) fn sign(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut signing = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| signing.update(part));
        signing.sign()
    }

    /// Compares in constant time.
    pub(crate) fn verifies(&self, text: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, text, tag).is_ok()
    }
}

impl fmt::Debug for MachineSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineSecret(hidden)")
    }
}

/// A machine's secret has the wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a machine's secret has 16 to 1,024 bytes; make one with `openssl rand -hex 32`")]
pub struct BadMachineSecret;

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

/// Draws 16 random bytes: a nonce or an id.
pub(crate) fn random_16() -> Result<[u8; 16], NoRandomness> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

const SECRET_KEY_BYTES: usize = 32;
/// Chosen: 128 bits if every byte were drawn; shorter secrets can be guessed from one captured message.
const MACHINE_SECRET_BYTES_MIN: usize = 16;
/// Chosen: longer than any secret that is made by a program.
const MACHINE_SECRET_BYTES_MAX: usize = 1024;
/// Chosen: 32 drawn bytes have about 30 different values; the chance of fewer than eight is below 2^-128.
const DIFFERENT_BYTES_MIN: usize = 8;
/// Values that stand in manuals and test vectors and that no other rule here finds.
const KNOWN_EXAMPLES: [&str; 3] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
];
