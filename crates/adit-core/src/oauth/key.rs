//! The keys that sign access tokens: ES256, made anew by time or by hand, never one moment without one that others know.
//!
//! They are in the database, so that several gateways share them, and sealed with a key derived from the session secret, which is
//! not: a reader of the database can forge nothing. A new key is published before it signs, and an old one is accepted until the last
//! token that it may have signed has expired.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use adit_domain::{KeyId, Timestamp};
use adit_store::{NewSigningKey, SigningKeyRow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::claims::{Claims, MAX_LIFE};

/// The longest access token that is looked at, in bytes: ours have about 700.
const MAX_TOKEN: usize = 4096;

/// How long an old key is accepted after the one that follows it signs: the longest life of a token, and a minute in which other
/// gateways learn of the new key, twice.
const OVERLAP: Duration = Duration::from_secs(MAX_LIFE as u64 + 120);

/// A key and what others may know of it.
pub struct SigningKey {
    /// Its id.
    pub id: KeyId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    pair: EcdsaKeyPair,
    public: ParsedPublicKey,
    /// The first part of every token that it signs. Compared as a whole, so that no header that somebody else wrote is ever read.
    header: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// A public key as others read it (RFC 7517, RFC 7518 §6.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// Its id.
    pub id: KeyId,
    /// The point's first half, base64url.
    pub x: String,
    /// The point's second half, base64url.
    pub y: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// When it stops being accepted; none for the newest.
    pub accepted_until: Option<Timestamp>,
}

/// Every key that counts, in the order in which they sign.
pub struct Keyring {
    seal: RandomizedNonceKey,
    keys: RwLock<Arc<Vec<SigningKey>>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// There is no key that signs.
#[derive(Debug, thiserror::Error)]
#[error("there is no key to sign access tokens with")]
pub struct NoKey;

impl Keyring {
    /// Makes an empty one whose keys are sealed with a key derived from a secret.
    pub fn new(secret: &str) -> Self {
        let key = crate::derive(secret, b"adit oauth signing keys v1");
        let seal = RandomizedNonceKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes");
        Self { seal, keys: RwLock::default() }
    }

    /// Makes a new key, to be stored.
    pub fn make(&self, id: KeyId, signs_from: Timestamp, at: Timestamp) -> NewSigningKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("the system has a random source");
        let private = pair.to_pkcs8v1().expect("a P-256 key has a PKCS #8 form");
        let mut sealed = private.as_ref().to_vec();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut sealed);
        let nonce = nonce.expect("a key is far shorter than what may be sealed");
        sealed.extend_from_slice(nonce.as_ref());
        NewSigningKey { id, public: pair.public_key().as_ref().to_vec(), sealed, signs_from, at }
    }

    /// Takes the keys that are stored. One that another secret sealed is left out: what it signed counts no more.
    pub fn take(&self, rows: Vec<SigningKeyRow>) {
        let read = |row: SigningKeyRow| {
            let id = row.id;
            let key = self.open(row);
            if key.is_none() {
                tracing::warn!(%id, "a key that signs access tokens cannot be opened; the session secret has changed");
            }
            key
        };
        let keys: Vec<SigningKey> = rows.into_iter().filter_map(read).collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn open(&self, row: SigningKeyRow) -> Option<SigningKey> {
        let mut sealed = row.sealed;
        let nonce = sealed.split_off(sealed.len().checked_sub(aws_lc_rs::aead::NONCE_LEN)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let opened = self.seal.open_in_place(nonce, Aad::from(row.id.as_bytes()), &mut sealed);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, opened.ok()?).ok()?;
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": row.id.to_string()});
        Some(SigningKey {
            id: row.id,
            created_at: row.created_at,
            signs_from: row.signs_from,
            public: public.ok()?,
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            pair,
        })
    }

    fn keys(&self) -> Arc<Vec<SigningKey>> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells when the newest key was made.
    pub fn newest(&self) -> Option<Timestamp> {
        self.keys().last().map(|key| key.created_at)
    }

    /// Signs claims with the key whose time it is.
    ///
    /// # Errors
    /// [`NoKey`] when none signs yet.
    pub fn sign(&self, claims: &Claims, now: Timestamp) -> Result<String, NoKey> {
        let keys = self.keys();
        let key = keys.iter().rev().find(|key| key.signs_from <= now).ok_or(NoKey)?;
        let payload = serde_json::to_vec(claims).expect("texts and numbers become JSON");
        let mut token = format!("{}.{}", key.header, URL_SAFE_NO_PAD.encode(payload));
        let signature = key.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature = signature.expect("the system has a random source");
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }

    /// Checks a token's signature with a key that counts, and gives what was signed.
    pub fn verify(&self, token: &str, now: Timestamp) -> Verified {
        let parts = || {
            let (header, rest) = token.split_once('.')?;
            let (payload, signature) = rest.split_once('.')?;
            (token.len() <= MAX_TOKEN).then_some((header, payload, signature))
        };
        let Some((header, payload, signature)) = parts() else { return Verified::Wrong };
        let keys = self.keys();
        let found = keys.iter().enumerate().find(|(_, key)| key.header == header);
        let Some((at, key)) = found else { return Verified::UnknownKey };
        if accepted_until(&keys, at).is_some_and(|until| until <= now) {
            return Verified::Wrong;
        }
        let signed = &token[..header.len() + 1 + payload.len()];
        let checked = URL_SAFE_NO_PAD
            .decode(signature)
            .ok()
            .is_some_and(|signature| key.public.verify_sig(signed.as_bytes(), &signature).is_ok());
        match URL_SAFE_NO_PAD.decode(payload) {
            Ok(payload) if checked => Verified::Signed(payload),
            _ => Verified::Wrong,
        }
    }

    /// Lists the public halves that count, also of one that does not sign yet.
    pub fn published(&self, now: Timestamp) -> Vec<PublicKey> {
        let keys = self.keys();
        let shown = |(at, key): (usize, &SigningKey)| {
            let until = accepted_until(&keys, at);
            let point = key.pair.public_key().as_ref();
            let half = |from: usize| URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
            until.is_none_or(|until| now < until).then(|| PublicKey {
                id: key.id,
                x: half(1),
                y: half(33),
                created_at: key.created_at,
                signs_from: key.signs_from,
                accepted_until: until,
            })
        };
        keys.iter().enumerate().filter_map(shown).collect()
    }

    /// Lists the keys that nothing counts of any more.
    pub fn over(&self, now: Timestamp) -> Vec<KeyId> {
        let keys = self.keys();
        let over = |at: &usize| accepted_until(&keys, *at).is_some_and(|until| until <= now);
        (0..keys.len()).filter(over).map(|at| keys[at].id).collect()
    }
}

/// What came of looking at a token's signature.
#[derive(Debug, PartialEq, Eq)]
pub enum Verified {
    /// It is good; this was signed.
    Signed(Vec<u8>),
    /// It is not.
    Wrong,
    /// It names no key that is known here; another gateway may have made one.
    UnknownKey,
}

fn accepted_until(keys: &[SigningKey], at: usize) -> Option<Timestamp> {
    keys.get(at + 1).map(|next| next.signs_from + OVERLAP)
}

#[cfg(test)]
#[path = "key/tests.rs"]
mod tests;
