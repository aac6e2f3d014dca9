//! Proofs of a key, in the form of DPoP: who redeems a ticket that is bound to a key shows that it has that key.
//!
//! The proof is a JWT as RFC 9449 section 4.2 has it, and is checked as section 4.3 says, with two differences. A ticket is good for one
//! redemption within seconds and the proof names the ticket, so `jti` and `iat` need no list and no clock: a person whose clock is wrong is
//! let in. And of `htu` only the end of the path counts, because a proxy in front may
//! have another name and a prefix.

use adit_domain::ticket::Thumbprint;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// The longest proof, in bytes; one of P-256 has some 500.
const MAX_BYTES: usize = 4096;

/// Where tickets are redeemed.
const PATH: &str = "/ws/terminal";

/// Why a proof shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadProof {
    /// It is no JWT of the kind `dpop+jwt` with a public key that is taken.
    Form,
    /// The signature is not that key's.
    Signature,
    /// It is for another request or another ticket.
    Request,
}

impl BadProof {
    /// Gives the words of the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "no proof",
            Self::Signature => "bad signature",
            Self::Request => "for something else",
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    #[serde(rename = "iat")]
    _iat: i64,
    ath: String,
}

/// Reads the proof that comes with a ticket, and gives the key that it proves.
///
/// # Errors
/// [`BadProof`].
pub fn read(proof: &str, ticket: &str) -> Result<Thumbprint, BadProof> {
    if proof.len() > MAX_BYTES {
        return Err(BadProof::Form);
    }
    let header = jsonwebtoken::decode_header(proof).map_err(|_| BadProof::Form)?;
    let is_proof = header.typ.as_deref() == Some("dpop+jwt");
    let key = header.jwk.filter(|_| is_proof && !has_private_part(proof)).ok_or(BadProof::Form)?;
    if !matches!(header.alg, Algorithm::ES256 | Algorithm::EdDSA) {
        return Err(BadProof::Form);
    }
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoding = DecodingKey::from_jwk(&key).map_err(|_| BadProof::Form)?;
    let decoded = jsonwebtoken::decode::<Claims>(proof, &decoding, &validation);
    let claims = decoded.map_err(|_| BadProof::Signature)?.claims;
    let names_ticket =
        claims.ath == BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, ticket.as_bytes()));
    let names_request =
        claims.htm == "GET" && path(&claims.htu).is_some_and(|path| path.ends_with(PATH));
    if !names_ticket || !names_request || claims.jti.is_empty() {
        return Err(BadProof::Request);
    }
    thumbprint(&key)
}

fn thumbprint(key: &Jwk) -> Result<Thumbprint, BadProof> {
    let text = key.thumbprint(ThumbprintHash::SHA256).map_err(|_| BadProof::Form)?;
    parse(&text).ok_or(BadProof::Form)
}

/// Reads a thumbprint as RFC 9449 section 10 writes `dpop_jkt`: the SHA-256 of RFC 7638, in base64url without padding.
pub fn parse(text: &str) -> Option<Thumbprint> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    bytes.try_into().ok().map(Thumbprint)
}

/// Gives the path of an `http`, `https`, `ws` or `wss` address.
fn path(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://")?;
    matches!(scheme, "http" | "https" | "ws" | "wss").then_some(())?;
    rest.find('/').map(|at| &rest[at..])
}

/// Whoever sends its private key along shows it to everybody on the way. RFC 9449 section 4.3, point 7.
fn has_private_part(proof: &str) -> bool {
    let header = proof.split('.').next().unwrap_or_default();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    ["d", "p", "q", "k"].iter().any(|part| !header["jwk"][part].is_null())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;

    const TICKET: &str = "atk_ticket";

    struct Prover {
        key: EncodingKey,
        alg: Algorithm,
    }

    impl Prover {
        fn p256() -> Self {
            let pair = rcgen::KeyPair::generate().unwrap();
            Self { key: EncodingKey::from_ec_der(&pair.serialize_der()), alg: Algorithm::ES256 }
        }

        fn ed25519() -> Self {
            let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
            let der = pair.to_pkcs8v1().unwrap();
            Self { key: EncodingKey::from_ed_der(der.as_ref()), alg: Algorithm::EdDSA }
        }

        fn jwk(&self) -> Jwk {
            Jwk::from_encoding_key(&self.key, self.alg).unwrap()
        }

        fn signs(&self, typ: &str, jwk: Option<Jwk>, claims: &Value) -> String {
            let header = Header { typ: Some(typ.to_owned()), jwk, ..Header::new(self.alg) };
            jsonwebtoken::encode(&header, claims, &self.key).unwrap()
        }

        fn proves(&self, claims: &Value) -> String {
            self.signs("dpop+jwt", Some(self.jwk()), claims)
        }
    }

    fn claims() -> Value {
        let ath = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, TICKET.as_bytes()));
        json!({"jti": "1", "htm": "GET", "htu": "wss://adit.example/ws/terminal", "iat": 1_800_000_000, "ath": ath})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    #[test]
    fn a_proof_shows_the_key_that_signed_it() {
        // BEY-5
        for prover in [Prover::p256(), Prover::ed25519()] {
            let shown = read(&prover.proves(&claims()), TICKET).unwrap();
            assert_eq!(Ok(shown), thumbprint(&prover.jwk()));
        }
    }

    #[test]
    fn a_proof_for_another_ticket_or_request_shows_nothing() {
        // BEY-5
        let prover = Prover::p256();
        let refused = |claims: &Value| read(&prover.proves(claims), TICKET).unwrap_err();
        assert_eq!(read(&prover.proves(&claims()), "atk_other"), Err(BadProof::Request));
        for (name, value) in [
            ("htm", json!("POST")),
            ("htu", json!("wss://adit.example/ws/agent")),
            ("htu", json!("wss://adit.example/ws/terminal/x")),
            ("htu", json!("/ws/terminal")),
            ("jti", json!("")),
        ] {
            assert_eq!(refused(&with(name, value)), BadProof::Request, "{name}");
        }
    }

    #[test]
    fn what_is_no_proof_shows_nothing() {
        // BEY-5
        let (prover, other) = (Prover::p256(), Prover::p256());
        let good = prover.proves(&claims());
        let foreign = prover.signs("dpop+jwt", Some(other.jwk()), &claims());
        assert_eq!(read(&foreign, TICKET), Err(BadProof::Signature));
        let (head, signature) = good.rsplit_once('.').unwrap();
        let unsigned = format!("{head}.");
        let secret = Prover { key: EncodingKey::from_secret(b"secret"), alg: Algorithm::HS256 };
        let no_jwk = prover.signs("dpop+jwt", None, &claims());
        let jwt = prover.signs("JWT", Some(prover.jwk()), &claims());
        let shared = secret.signs("dpop+jwt", Some(prover.jwk()), &claims());
        let long = "a".repeat(MAX_BYTES + 1);
        for bad in ["x", "a.b.c", &unsigned, signature, &no_jwk, &jwt, &shared, &long] {
            assert!(read(bad, TICKET).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proof_with_a_private_key_in_it_is_none() {
        let header = BASE64_URL_SAFE_NO_PAD
            .encode(r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","d":"x"}}"#);
        assert!(has_private_part(&format!("{header}.e30.x")));
        assert!(!has_private_part(&Prover::p256().proves(&claims())));
    }
}
