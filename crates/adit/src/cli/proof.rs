//! The key of this process: tickets are bound to it, so that a ticket which somebody copies opens nothing. DPoP proofs, RFC 9449.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use adit_domain::Secret;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;

/// A key that lives as long as this process, and only in its memory.
#[derive(Clone)]
pub struct ProofKey {
    key: Arc<EncodingKey>,
    header: Header,
    thumbprint: String,
}

impl ProofKey {
    /// Makes one, on the curve P-256.
    ///
    /// # Errors
    /// There is no randomness, or the key cannot be used.
    pub fn new() -> Result<Self, Failure> {
        let pair = rcgen::KeyPair::generate().map_err(|error| failed(&error))?;
        let key = EncodingKey::from_ec_der(&Secret::new(pair.serialize_der()).expose()[..]);
        let public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|error| failed(&error))?;
        let thumbprint =
            public.thumbprint(ThumbprintHash::SHA256).map_err(|error| failed(&error))?;
        let header = Header {
            typ: Some("dpop+jwt".to_owned()),
            jwk: Some(public),
            ..Header::new(Algorithm::ES256)
        };
        Ok(Self { key: Arc::new(key), header, thumbprint })
    }

    /// Asks that the ticket of a request be bound to this key.
    pub fn binds(&self, request: &Value) -> Value {
        let mut request = request.clone();
        request["dpopJkt"] = json!(self.thumbprint);
        request
    }

    /// Proves this key for one ticket at one WebSocket.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn proves(&self, ticket: &str, url: &str) -> Result<String, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ath = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, ticket.as_bytes()));
        let claims = json!({
            "jti": Uuid::new_v4().to_string(), "htm": "GET", "htu": url, "iat": now.as_secs(), "ath": ath,
        });
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|error| failed(&error))
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::Key(error.to_string())
}
