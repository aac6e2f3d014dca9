//! Sealing: the message is written once, and the HMAC is over the part of it that the rule names.

use std::time::SystemTime;

use super::{Draft, MESSAGE_BYTES_MAX, OVERHEAD_BYTES, id_text, unix_ms};
use crate::secret::{MachineSecret, NoRandomness, random_16};
use crate::{json, lower_hex, timestamp};

/// Seals the messages of one machine; it draws nonces many at a time.
#[derive(Debug)]
pub struct Sealer {
    secret: MachineSecret,
    nonces: [u8; NONCES_AT_A_TIME * 16],
    used: usize,
}

impl Sealer {
    /// Makes the sending end of a machine's messages.
    pub fn new(secret: MachineSecret) -> Self {
        Self { secret, nonces: [0; NONCES_AT_A_TIME * 16], used: NONCES_AT_A_TIME }
    }

    /// Seals a message.
    ///
    /// # Errors
    /// The message is over the limit, or the system gives no random bytes.
    pub fn seal(&mut self, draft: &Draft<'_>, now: SystemTime) -> Result<String, SealError> {
        let nonce = self.nonce()?;
        seal_with_nonce(draft, &self.secret, now, nonce)
    }

    /// Gives each drawn nonce once.
    fn nonce(&mut self) -> Result<[u8; 16], NoRandomness> {
        if self.used == NONCES_AT_A_TIME {
            aws_lc_rs::rand::fill(&mut self.nonces).map_err(|_| NoRandomness)?;
            self.used = 0;
        }
        let nonce = self.nonces.as_chunks::<16>().0[self.used];
        self.used += 1;
        Ok(nonce)
    }
}

/// Seals a single message.
///
/// # Errors
/// The message is over the limit, or the system gives no random bytes.
pub fn seal(
    draft: &Draft<'_>,
    secret: &MachineSecret,
    now: SystemTime,
) -> Result<String, SealError> {
    seal_with_nonce(draft, secret, now, random_16()?)
}

/// Seals a message with a given nonce, which must never be used twice: for test vectors.
///
/// # Errors
/// The message is over the limit.
pub fn seal_with_nonce(
    draft: &Draft<'_>,
    secret: &MachineSecret,
    now: SystemTime,
    nonce: [u8; 16],
) -> Result<String, SealError> {
    if draft.payload.len() > MESSAGE_BYTES_MAX {
        return Err(SealError::TooLarge);
    }
    let token = draft.session_token.map(|token| token.to_json());
    let token = token.as_deref().unwrap_or("null");
    let capacity = draft.payload.len() + draft.payload.len() / 4 + token.len() + OVERHEAD_BYTES;
    let mut message = Vec::with_capacity(capacity);
    for part in ["{\"type\":\"", draft.kind.as_str(), "\",\"sessionToken\":", token, ",\"data\":{"]
    {
        message.extend_from_slice(part.as_bytes());
    }
    let data_from = message.len();
    write_data(&mut message, draft, &nonce, unix_ms(now));
    let mac_parts =
        [&b"{\"type\":\""[..], draft.kind.as_str().as_bytes(), b"\",", &message[data_from..], b"}"];
    let tag = secret.sign(&mac_parts);
    let mut digits = [0; 64];
    lower_hex::write(tag.as_ref(), &mut digits);
    for part in [&b",\"hmac\":\""[..], &digits, b"\"}}"] {
        message.extend_from_slice(part);
    }
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(SealError::TooLarge);
    }
    Ok(String::from_utf8(message).expect("every part is UTF-8"))
}

/// Writes `"sessionId":…,"machineId":…,"payload":…,"nonce":…,"timestamp":…`.
fn write_data(message: &mut Vec<u8>, draft: &Draft<'_>, nonce: &[u8; 16], now_ms: u64) {
    let (mut session, mut machine, mut digits) = ([0; 36], [0; 36], [0; 32]);
    id_text(&draft.session_id, &mut session);
    id_text(&draft.machine_id, &mut machine);
    lower_hex::write(nonce, &mut digits);
    let target =
        [&b"\"sessionId\":\""[..], &session, b"\",\"machineId\":\"", &machine, b"\",\"payload\":"];
    for part in target {
        message.extend_from_slice(part);
    }
    json::write_string(message, draft.payload);
    let time = timestamp::write(now_ms);
    for part in [&b",\"nonce\":\""[..], &digits, b"\",\"timestamp\":\"", &time, b"\""] {
        message.extend_from_slice(part);
    }
}

/// A message was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Over 64 KiB; send it in parts.
    #[error("a sealed message has at most 65,536 bytes")]
    TooLarge,
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Chosen: 1 KiB, which takes the system's generator little longer than one nonce.
const NONCES_AT_A_TIME: usize = 64;
