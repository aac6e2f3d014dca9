//! Gives snow the primitives of aws-lc-rs; snow keeps the protocol: patterns, transcript, key schedule and counters.
//!
//! `benches/seal.rs` has the reason: sealing and opening takes half the time of snow's own cipher for 16 KiB, a fifth for a key.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver, FallbackResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use crate::keys::{KEY_LEN, PublicKey, public_of, shared_secret};

/// The bytes that sealing adds to a message (RFC 8439 §2.8).
pub(crate) const TAG: usize = 16;

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_SHA256";

/// Starts a handshake of our one pattern.
pub(crate) fn builder<'a>() -> snow::Builder<'a> {
    let resolver = FallbackResolver::new(Box::new(AwsLc), Box::new(DefaultResolver));
    snow::Builder::with_resolver(
        PATTERN.parse().expect("the pattern is one that snow knows"),
        Box::new(resolver),
    )
}

struct AwsLc;

impl CryptoResolver for AwsLc {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SystemRandom))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        None
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly)
            .then(|| Box::new(ChaChaPoly { key: keyed(&[0; KEY_LEN]) }) as Box<dyn Cipher>)
    }
}

/// The ephemeral keys' randomness, which is no argument: a repeated one would give the session's keys away.
struct SystemRandom;

impl Random for SystemRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        rand::fill(dest).map_err(|_| snow::Error::Rng)
    }
}

struct X25519 {
    private: Zeroizing<[u8; KEY_LEN]>,
    public: PublicKey,
}

impl Default for X25519 {
    fn default() -> Self {
        Self { private: Zeroizing::new([0; KEY_LEN]), public: PublicKey([0; KEY_LEN]) }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_LEN
    }

    fn priv_len(&self) -> usize {
        KEY_LEN
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
        self.public = public_of(&self.private);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        rng.try_fill_bytes(&mut *self.private)?;
        self.public = public_of(&self.private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public.0
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        // Snow hands over buffers that fit any curve.
        let public = public.get(..KEY_LEN).ok_or(snow::Error::Dh)?;
        let out = out.get_mut(..KEY_LEN).ok_or(snow::Error::Dh)?;
        let secret = shared_secret(&self.private, public).map_err(|_| snow::Error::Dh)?;
        out.copy_from_slice(&*secret);
        Ok(())
    }
}

struct ChaChaPoly {
    key: LessSafeKey,
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; KEY_LEN]) {
        self.key = keyed(key);
    }

    fn encrypt(&self, counter: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let sealed_len = plaintext.len() + TAG;
        let (ciphertext, tag) = out[..sealed_len].split_at_mut(plaintext.len());
        self.key
            .seal_out_of_place_scatter(
                nonce(counter),
                Aad::from(authtext),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .expect("the buffers have the lengths that sealing needs");
        sealed_len
    }

    fn decrypt(
        &self,
        counter: u64,
        authtext: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        open(&self.key, nonce(counter), authtext, sealed, out)
    }
}

fn open(
    key: &LessSafeKey,
    nonce: Nonce,
    authtext: &[u8],
    sealed: &[u8],
    out: &mut [u8],
) -> Result<usize, snow::Error> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or(snow::Error::Decrypt)?;
    let out = out.get_mut(..ciphertext.len()).ok_or(snow::Error::Decrypt)?;
    key.open_separate_gather(nonce, Aad::from(authtext), ciphertext, tag, out)
        .map_err(|_| snow::Error::Decrypt)?;
    Ok(ciphertext.len())
}

fn keyed(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&CHACHA20_POLY1305, key).expect("every 32 bytes are a ChaCha20 key"),
    )
}

/// Writes a counter as Noise does for ChaChaPoly: 4 zero bytes, then u64 LE (Noise revision 34 §12.3).
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
#[path = "noise/tests.rs"]
mod tests;
