//! Warrants: a session's signed statement for the agent: who, what, where, until when.
//!
//! Signature: Ed25519 (RFC 8032) over `"adit-warrant-v1\n"` and the bytes of the protobuf message, which travel as they were signed.

use adit_domain::{Capabilities, Capability, MachineId, SessionId, Timestamp};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use prost::Message;

use crate::agent::v1 as pb;

const CONTEXT: &[u8] = b"adit-warrant-v1\n";

/// Signs a warrant with the authority's key.
pub fn sign(warrant: &pb::Warrant, key: &Ed25519KeyPair) -> pb::SignedWarrant {
    let bytes = warrant.encode_to_vec();
    let signature = key.sign(&signed_bytes(&bytes)).as_ref().to_vec();
    pb::SignedWarrant { warrant: bytes.into(), signature: signature.into() }
}

/// What a machine knows that a warrant must agree with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The authority's Ed25519 public key, 32 bytes, from enrolment.
    pub authority: &'a [u8],
    /// This machine.
    pub machine: MachineId,
    /// The session service's Noise key, 32 bytes, from enrolment.
    pub session_service: &'a [u8],
    /// The highest epoch seen.
    pub epoch: u64,
    /// Now, by this machine's clock corrected by the offset to the gateway's.
    pub now: Timestamp,
}

/// A warrant that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The session that it is for.
    pub session: SessionId,
    /// What may be done in it.
    pub capabilities: Capabilities,
    /// Everything that was signed.
    pub warrant: pb::Warrant,
}

/// Why a warrant is not accepted; the agent's log says it, the gateway hears only `warrant.invalid`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Not signed by the authority of the enrolment.
    #[error("the signature is not the authority's")]
    Signature,
    /// Signed, but not a warrant.
    #[error("the warrant cannot be read")]
    Form,
    /// For another machine.
    #[error("the warrant is for another machine")]
    Machine,
    /// For a session service that this machine does not know.
    #[error("the warrant names another session service")]
    SessionService,
    /// Over, or past the session's length limit.
    #[error("the warrant has expired")]
    Expired,
    /// From before a backup was restored.
    #[error("the warrant is of an older epoch")]
    Epoch,
    /// For more than the person at the machine agreed to; only the machine knows.
    #[error("the person at this machine did not agree to what the warrant allows")]
    Consent,
}

/// Checks a warrant as the machine does, trusting nothing but the authority's key.
///
/// # Errors
/// A [`Refusal`] that names the first thing that is wrong.
pub fn check(signed: &pb::SignedWarrant, expected: Expected<'_>) -> Result<Checked, Refusal> {
    let warrant = read(signed, expected.authority)?;
    let session = SessionId::from_bytes(&warrant.session_id).ok_or(Refusal::Form)?;
    if MachineId::from_bytes(&warrant.machine_id) != Some(expected.machine) {
        return Err(Refusal::Machine);
    }
    if warrant.session_service[..] != *expected.session_service {
        return Err(Refusal::SessionService);
    }
    if warrant.epoch < expected.epoch {
        return Err(Refusal::Epoch);
    }
    let ends = warrant.expires_at_ms.min(warrant.ends_at_ms);
    if expected.now >= Timestamp::from_wire(ends) {
        return Err(Refusal::Expired);
    }
    let capabilities = read_capabilities(&warrant).ok_or(Refusal::Form)?;
    Ok(Checked { session, capabilities, warrant })
}

/// Reads a warrant that the authority signed; whom it is for and whether it still counts is for the caller to look at.
///
/// # Errors
/// [`Refusal::Signature`] and [`Refusal::Form`].
pub fn read(signed: &pb::SignedWarrant, authority: &[u8]) -> Result<pb::Warrant, Refusal> {
    UnparsedPublicKey::new(&ED25519, authority)
        .verify(&signed_bytes(&signed.warrant), &signed.signature)
        .map_err(|_| Refusal::Signature)?;
    pb::Warrant::decode(signed.warrant.clone()).map_err(|_| Refusal::Form)
}

fn read_capabilities(warrant: &pb::Warrant) -> Option<Capabilities> {
    warrant.capabilities.iter().map(|name| name.parse::<Capability>().ok()).collect()
}

fn signed_bytes(warrant: &[u8]) -> Vec<u8> {
    [CONTEXT, warrant].concat()
}

#[cfg(test)]
#[path = "warrant/tests.rs"]
mod tests;
