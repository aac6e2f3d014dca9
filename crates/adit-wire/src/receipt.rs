//! Receipts: one signed statement of what a job was, how it ended and what it wrote.
//!
//! A receipt is one line of JSON without spaces, its keys in the order of [`Receipt`]. Its digest, which the job's last event in the audit log
//! holds, is SHA-256 over `"adit-receipt-v1\n"` and the line; the signature is Ed25519 over that same input, by the key that signs checkpoints.
//! A file of receipts has one a line: `{"signature":"…","receipt":{…}}`.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::recording::PublicKey;

/// The domain of receipts' digests and signatures.
const DOMAIN: &[u8] = b"adit-receipt-v1\n";

/// The form that is written, and the only one that is read.
pub const FORM: u8 = 1;

/// What a receipt states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The form, [`FORM`].
    pub v: u8,
    /// The job's id.
    pub job: String,
    /// The session that it was.
    pub session: Option<String>,
    /// Who asked for it, as `user:NAME`.
    pub principal: String,
    /// The machine's id.
    pub machine: String,
    /// The machine's label.
    pub label: String,
    /// The template's name.
    pub template: String,
    /// The digest of the template's version.
    pub version: Digest,
    /// The digest of version, arguments, machine and limits: what others agreed to, where they had to.
    pub content: Digest,
    /// The program and its arguments, as they ran.
    pub argv: Vec<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub asked_at: i64,
    /// When it was given out.
    pub started_at: Option<i64>,
    /// When its end was written down.
    pub ended_at: i64,
    /// How it ended.
    pub state: String,
    /// The exit status of its program, if that ended by itself.
    pub exit: Option<i32>,
    /// The signal that ended its program, without SIG.
    pub signal: Option<String>,
    /// The code of why it ended, where it was not its program's own doing.
    pub reason: Option<String>,
    /// What it used; nothing of a job whose machine did not say.
    pub used: Option<Used>,
    /// Its standard output.
    pub stdout: Wrote,
    /// Its standard error.
    pub stderr: Wrote,
    /// The digest of the recording that holds both.
    pub recording: Option<Digest>,
}

/// What a job used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// From start to end on its machine, in milliseconds.
    pub elapsed_ms: u64,
    /// Processor time of its programs, in milliseconds.
    pub user_ms: u64,
    /// Processor time of the kernel for it, in milliseconds.
    pub system_ms: u64,
    /// The most memory that it had, in bytes.
    pub peak_bytes: u64,
}

/// What a job wrote to one of its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrote {
    /// All of it, in bytes.
    pub bytes: u64,
    /// What was not kept, in bytes.
    pub dropped: u64,
    /// SHA-256 of what was kept, as `sha256sum` gives it; none where what was kept cannot be read.
    pub sha256: Option<Digest>,
}

/// A receipt with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// Its canonical line.
    pub line: String,
    /// The Ed25519 signature over the domain and the line.
    pub signature: [u8; 64],
}

/// Says why a receipt does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    /// It can't be read, or is written otherwise than it must be.
    #[error("a receipt can't be read")]
    Form,
    /// No trusted key signed it.
    #[error("a receipt is not signed by a trusted key")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export<'a> {
    signature: &'a str,
    receipt: &'a serde_json::value::RawValue,
}

impl Receipt {
    /// Writes the canonical line.
    ///
    /// # Panics
    /// Never: numbers and texts are JSON.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }

    /// Reads the canonical line and no other.
    ///
    /// # Errors
    /// [`BadReceipt::Form`].
    pub fn decode(line: &str) -> Result<Self, BadReceipt> {
        let receipt: Self = serde_json::from_str(line).map_err(|_| BadReceipt::Form)?;
        if receipt.v != FORM || receipt.line() != line {
            return Err(BadReceipt::Form);
        }
        Ok(receipt)
    }

    /// Signs it.
    ///
    /// # Panics
    /// Never: Ed25519 signatures have one length.
    pub fn sign(&self, key: &Ed25519KeyPair) -> SignedReceipt {
        let line = self.line();
        let signature = key.sign(&statement(&line));
        let signature = signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        SignedReceipt { line, signature }
    }
}

impl SignedReceipt {
    /// Gives the digest that the audit log holds.
    pub fn digest(&self) -> Digest {
        Digest::of(DOMAIN, &[self.line.as_bytes()])
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`BadReceipt::Form`], or [`BadReceipt::Signature`] when none of the trusted keys signed it.
    pub fn open(&self, trusted: &[PublicKey]) -> Result<Receipt, BadReceipt> {
        let receipt = Receipt::decode(&self.line)?;
        let statement = statement(&self.line);
        let signed = |key: &PublicKey| {
            UnparsedPublicKey::new(&ED25519, key).verify(&statement, &self.signature).is_ok()
        };
        if trusted.iter().any(signed) { Ok(receipt) } else { Err(BadReceipt::Signature) }
    }

    /// Writes it as one line of a file, without the line's end.
    pub fn export(&self) -> String {
        let signature = hex::encode(self.signature);
        format!("{{\"signature\":\"{signature}\",\"receipt\":{}}}", self.line)
    }

    /// Reads a line of a file.
    ///
    /// # Errors
    /// [`BadReceipt::Form`].
    pub fn parse(line: &str) -> Result<Self, BadReceipt> {
        let read: Export<'_> = serde_json::from_str(line).map_err(|_| BadReceipt::Form)?;
        let mut signature = [0; 64];
        hex::decode_to_slice(read.signature, &mut signature).map_err(|_| BadReceipt::Form)?;
        let signed = Self { line: read.receipt.get().to_owned(), signature };
        if signed.export() == line { Ok(signed) } else { Err(BadReceipt::Form) }
    }
}

fn statement(line: &str) -> Vec<u8> {
    [DOMAIN, line.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair as _;
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, public)
    }

    fn receipt() -> Receipt {
        let wrote = Wrote { bytes: 2, dropped: 0, sha256: Some(Digest::of(b"", &[b"x\n"])) };
        Receipt {
            v: FORM,
            job: "01a22f40-57d4-72b1-a3b0-9ef3701fca11".to_owned(),
            session: None,
            principal: "user:ann".to_owned(),
            machine: "01a22f40-5808-74b7-89f6-b0c8ed120655".to_owned(),
            label: "web-1".to_owned(),
            template: "echo".to_owned(),
            version: Digest::of(b"", &[b"version"]),
            content: Digest::of(b"", &[b"content"]),
            argv: vec!["/bin/echo".to_owned(), "x\u{1b}\"".to_owned()],
            asked_at: 1,
            started_at: Some(2),
            ended_at: 3,
            state: "succeeded".to_owned(),
            exit: Some(0),
            signal: None,
            reason: None,
            used: Some(Used { elapsed_ms: 1, user_ms: 2, system_ms: 3, peak_bytes: 4 }),
            stdout: wrote,
            stderr: wrote,
            recording: None,
        }
    }

    // BEY-7
    #[test]
    fn a_receipt_holds_for_its_own_key_and_for_no_other() {
        let ((pair, public), (_, other)) = (key(1), key(2));
        let signed = receipt().sign(&pair);
        let read = SignedReceipt::parse(&signed.export()).unwrap();
        assert_eq!(read.open(&[other, public]), Ok(receipt()));
        assert_eq!(read.open(&[other]), Err(BadReceipt::Signature));
        assert_eq!(read.open(&[]), Err(BadReceipt::Signature));
    }

    proptest! {
        // BEY-7
        #[test]
        fn any_changed_byte_of_a_receipt_is_noticed(at in 0_usize..2000, to in any::<u8>()) {
            let (pair, public) = key(1);
            let file = receipt().sign(&pair).export();
            let mut bytes = file.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            let opened = SignedReceipt::parse(&changed).and_then(|signed| signed.open(&[public]));
            prop_assert!(opened.is_err(), "{changed}");
        }
    }

    #[test]
    fn another_form_and_another_order_are_not_read() {
        let line = receipt().line();
        for other in [
            line.replacen("\"v\":1", "\"v\":2", 1),
            line.replacen(',', ", ", 1),
            line.replacen('{', "{\"more\":1,", 1),
        ] {
            assert_eq!(Receipt::decode(&other), Err(BadReceipt::Form), "{other}");
        }
    }
}
