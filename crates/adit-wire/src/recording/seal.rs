//! The signature that completes a recording.

use adit_domain::id::SessionId;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::digest::Digest;

/// An Ed25519 public key.
pub type PublicKey = [u8; 32];

/// What a seal starts with.
pub const MAGIC: [u8; 4] = *b"ADRS";

/// The length of a seal in the file.
pub const SEAL_BYTES: usize = 4 + 32 + 64;

/// What is signed for a recording, before the session's id and the hash of the end chunk.
const END: &[u8] = b"adit-recording-end-v1\n";

/// What is signed for a tombstone, before the session's id and the tombstone's hash.
const TOMBSTONE: &[u8] = b"adit-recording-tombstone-v1\n";

/// What a seal stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// A recording, by the hash of its end chunk.
    Recording,
    /// A tombstone, by its own hash.
    Tombstone,
}

/// A signature over a session's id and a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The key that signed; whether it is trusted is the reader's question.
    pub key: PublicKey,
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

impl Seal {
    /// Signs.
    ///
    /// # Panics
    /// Never: Ed25519 keys and signatures have one length.
    pub fn sign(sealed: Sealed, session: SessionId, hash: Digest, key: &Ed25519KeyPair) -> Self {
        use aws_lc_rs::signature::KeyPair;
        let signature = key.sign(&statement(sealed, session, hash));
        Self {
            key: key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"),
            signature: signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes"),
        }
    }

    /// Tells whether one of the trusted keys made this seal for this session and hash.
    pub fn is_by(
        &self,
        trusted: &[PublicKey],
        sealed: Sealed,
        session: SessionId,
        hash: Digest,
    ) -> bool {
        trusted.contains(&self.key)
            && UnparsedPublicKey::new(&ED25519, self.key)
                .verify(&statement(sealed, session, hash), &self.signature)
                .is_ok()
    }

    /// Appends the seal.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.signature);
    }

    /// Reads a seal from exactly its bytes.
    pub fn decode(bytes: &[u8; SEAL_BYTES]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (key, signature) = rest.split_at(32);
        Some(Self { key: key.try_into().ok()?, signature: signature.try_into().ok()? })
    }
}

fn statement(sealed: Sealed, session: SessionId, hash: Digest) -> Vec<u8> {
    let domain = match sealed {
        Sealed::Recording => END,
        Sealed::Tombstone => TOMBSTONE,
    };
    [domain, session.as_bytes(), &hash.0].concat()
}
