//! Session tokens: their JSON form, their signature and the memory of signatures that were checked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::capability::Capabilities;
use crate::lower_hex;
use crate::secret::SecretKey;

/// The signed right of one user to use one machine for a while.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionToken {
    /// The session, made by the server.
    pub session_id: Uuid,
    /// Who uses it.
    pub user_id: Uuid,
    /// The machine that it is for.
    pub machine_id: Uuid,
    /// When the session began, in Unix seconds.
    pub issued_at: u64,
    /// When the token ends, in Unix seconds.
    pub expires_at: u64,
    /// What the session may do.
    pub capabilities: Capabilities,
    /// HMAC-SHA256 over every field above, lower-case hex.
    pub signature: Signature,
}

impl SessionToken {
    /// Reads the JSON form, at most 4 KiB, each key once and no other.
    ///
    /// # Errors
    /// It has another shape.
    pub fn from_json(json: &[u8]) -> Result<Self, BadToken> {
        if json.len() > TOKEN_BYTES_MAX {
            return Err(BadToken);
        }
        serde_json::from_slice(json).map_err(|_| BadToken)
    }

    /// Writes the JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers have a JSON form")
    }

    /// Every field in one unambiguous row of bytes.
    ///
    /// `[session 16][user 16][machine 16][issued u64 BE][expires u64 BE][count u32 BE]([len u32 BE][name])*`
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(192);
        for id in [self.session_id, self.user_id, self.machine_id] {
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(&self.issued_at.to_be_bytes());
        bytes.extend_from_slice(&self.expires_at.to_be_bytes());
        bytes.extend_from_slice(&length(self.capabilities.len()));
        for capability in &self.capabilities {
            bytes.extend_from_slice(&length(capability.as_str().len()));
            bytes.extend_from_slice(capability.as_str().as_bytes());
        }
        bytes
    }
}

/// Hides the signature: with it the token is a right.
impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionToken")
            .field("session_id", &self.session_id)
            .field("user_id", &self.user_id)
            .field("machine_id", &self.machine_id)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

/// A token's signature, 32 bytes; it cannot be shown by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 32]);

impl TryFrom<String> for Signature {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        lower_hex::read(text.as_bytes()).map(Self).ok_or(BadToken)
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        lower_hex::text(&signature.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(hidden)")
    }
}

/// A text is no session token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no session token")]
pub struct BadToken;

/// Signs and checks the tokens of one tenant.
pub(crate) struct TokenKey(hmac::Key);

impl TokenKey {
    pub(crate) fn new(secret: &SecretKey, tenant: Uuid) -> Self {
        Self(secret.token_key(tenant))
    }

    /// Makes a token of what it says.
    pub(crate) fn sign(&self, session: Signed) -> SessionToken {
        let mut token = SessionToken {
            session_id: session.session_id,
            user_id: session.user_id,
            machine_id: session.machine_id,
            issued_at: session.issued_at,
            expires_at: session.expires_at,
            capabilities: session.capabilities,
            signature: Signature([0; 32]),
        };
        let tag = hmac::sign(&self.0, &token.signed_bytes());
        token.signature.0.copy_from_slice(tag.as_ref());
        token
    }

    /// Compares in constant time.
    pub(crate) fn verifies(&self, token: &SessionToken) -> bool {
        hmac::verify(&self.0, &token.signed_bytes(), &token.signature.0).is_ok()
    }
}

/// What a token says.
pub(crate) struct Signed {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) machine_id: Uuid,
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) capabilities: Capabilities,
}

/// Tokens whose signature was found right, by the hash of their text: a text seen before is neither parsed nor checked again.
///
/// It holds nothing about expiry or revocation; these are looked at each time.
/// Two halves: when the young one is full it becomes the old one, and the old one is dropped.
pub(crate) struct CheckedTokens {
    halves: Mutex<Halves>,
}

#[derive(Default)]
struct Halves {
    young: HashMap<[u8; 32], Arc<SessionToken>>,
    old: HashMap<[u8; 32], Arc<SessionToken>>,
}

impl CheckedTokens {
    pub(crate) fn new() -> Self {
        Self { halves: Mutex::default() }
    }

    /// Gives the token of this text, whose signature is right.
    pub(crate) fn check(&self, text: &[u8], key: &TokenKey) -> Option<Arc<SessionToken>> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
        if let Some(token) = self.find(&hash) {
            return Some(token);
        }
        let token = Arc::new(SessionToken::from_json(text).ok()?);
        key.verifies(&token).then_some(())?;
        self.keep(hash, Arc::clone(&token));
        Some(token)
    }

    fn find(&self, hash: &[u8; 32]) -> Option<Arc<SessionToken>> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = halves.young.get(hash) {
            return Some(Arc::clone(token));
        }
        let token = halves.old.remove(hash)?;
        halves.keep(*hash, Arc::clone(&token));
        Some(token)
    }

    fn keep(&self, hash: [u8; 32], token: Arc<SessionToken>) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).keep(hash, token);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.young.len() + halves.old.len()
    }
}

impl Halves {
    fn keep(&mut self, hash: [u8; 32], token: Arc<SessionToken>) {
        if self.young.len() >= CHECKED_TOKENS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, token);
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a list of capabilities is short").to_be_bytes()
}

/// A token with 32 capabilities of 64 bytes has under 3 KiB.
const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Chosen: a token for each session of a busy gateway, about 4 MiB at 400 bytes each.
const CHECKED_TOKENS_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "8f4c2b9e6d1a7035c8e2f94b5a6d0c3e17f82a9b4d5c6e0f3a1b7c8d9e2f4051";

    fn key(tenant: u128) -> TokenKey {
        TokenKey::new(&SecretKey::from_hex(SECRET).unwrap(), Uuid::from_u128(tenant))
    }

    fn token(session: u128) -> SessionToken {
        let [session_id, user_id, machine_id] = [session, 2, 3].map(Uuid::from_u128);
        key(0).sign(Signed {
            session_id,
            user_id,
            machine_id,
            issued_at: 1000,
            expires_at: 1300,
            capabilities: Capabilities::default(),
        })
    }

    // SES-13, TOK-24
    #[test]
    fn a_change_of_any_field_is_found() {
        let good = token(1);
        assert!(key(0).verifies(&good));
        let changes: [fn(&mut SessionToken); 8] = [
            |t| t.session_id = Uuid::from_u128(9),
            |t| t.user_id = Uuid::from_u128(9),
            |t| t.machine_id = Uuid::from_u128(9),
            |t| std::mem::swap(&mut t.user_id, &mut t.machine_id),
            |t| t.issued_at += 1,
            |t| t.expires_at += 1,
            |t| t.capabilities = Capabilities::new([crate::Capability::SPAWN]).unwrap(),
            |t| t.signature.0 = [0; 32],
        ];
        for change in changes {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(!key(0).verifies(&changed), "{changed:?}");
        }
    }

    // SES-13, TOK-24
    #[test]
    fn every_bit_of_the_signature_counts() {
        for bit in 0..256 {
            let mut changed = token(1);
            changed.signature.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!key(0).verifies(&changed));
        }
    }

    // TOK-24
    #[test]
    fn another_tenants_key_and_another_secret_are_refused() {
        assert!(!key(7).verifies(&token(1)));
        let other = TokenKey::new(&SecretKey::generate().unwrap(), Uuid::nil());
        assert!(!other.verifies(&token(1)));
    }

    // SES-13
    #[test]
    fn the_key_that_signs_is_derived_and_not_the_secret_itself() {
        let raw =
            hmac::Key::new(hmac::HMAC_SHA256, &lower_hex::read::<32>(SECRET.as_bytes()).unwrap());
        assert!(hmac::verify(&raw, &token(1).signed_bytes(), &token(1).signature.0).is_err());
    }

    // SES-10
    #[test]
    fn the_json_form_has_the_documented_names() {
        let json: serde_json::Value = serde_json::from_str(&token(1).to_json()).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(
            names,
            [
                "capabilities",
                "expiresAt",
                "issuedAt",
                "machineId",
                "sessionId",
                "signature",
                "userId"
            ]
        );
        assert_eq!(json["capabilities"], serde_json::json!(["spawn", "input", "resize"]));
        assert_eq!(SessionToken::from_json(token(1).to_json().as_bytes()).unwrap(), token(1));
    }

    // TOK-24, TOK-27
    #[test]
    fn other_shapes_of_a_token_are_refused() {
        let json = token(1).to_json();
        let changes = [
            json.replace("1300", "1.3e3"),
            json.replace("1300", "\"1300\""),
            json.replace("1300", "-1"),
            json.replacen('{', "{\"expiresAt\":9999,", 1),
            json.replacen('{', "{\"admin\":true,", 1),
            format!("\u{feff}{json}"),
            format!("{json}x"),
            json.replace("\"input\"", "\"spawn\""),
            json.replace("\"input\"", "\"INPUT\""),
            "{}".into(),
            format!("{json}{}", " ".repeat(5000)),
        ];
        for change in changes {
            assert_eq!(SessionToken::from_json(change.as_bytes()), Err(BadToken), "{change}");
        }
        let signature = String::from(token(1).signature);
        for change in ["", "00", &signature.to_uppercase()] {
            assert_eq!(
                SessionToken::from_json(json.replace(&signature, change).as_bytes()),
                Err(BadToken)
            );
        }
    }

    // SES-13
    #[test]
    fn the_memory_of_checked_tokens_is_bounded_and_knows_no_bad_one() {
        let (checked, key) = (CheckedTokens::new(), key(0));
        let forged = token(1).to_json().replace("1300", "9300");
        assert!(checked.check(forged.as_bytes(), &key).is_none());
        assert_eq!(checked.len(), 0);
        for session in 0..10_000 {
            assert!(checked.check(token(session).to_json().as_bytes(), &key).is_some());
        }
        assert!(checked.len() <= CHECKED_TOKENS_MAX);
        assert!(checked.check(forged.as_bytes(), &key).is_none());
    }

    // SES-26
    #[test]
    fn a_token_never_shows_its_signature() {
        let shown = format!("{:?} {:?}", token(1), token(1).signature);
        assert!(!shown.contains(&String::from(token(1).signature)[..8]));
    }
}
