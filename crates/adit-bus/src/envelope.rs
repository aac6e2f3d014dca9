//! What a message looks like on the bus, and its proof of origin.
//!
//! `[version u8][sender 16][boot 16][receiver 16][number u64 BE][sent at i64 BE, Unix ms][body][HMAC-SHA256 32]`; a receiver of zeros
//! means everybody.

use adit_domain::{GatewayId, Timestamp};
use aws_lc_rs::hmac;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

/// The longest body, in bytes: a hint is ids and a few names. Chosen so that a full queue of messages stays below 20 MiB.
pub const MAX_BODY: usize = 16 * 1024;

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// Every gateway.
    All,
    /// One.
    Gateway(GatewayId),
}

/// A message with what proves that it is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who sent it.
    pub from: GatewayId,
    /// Which run of the sender.
    pub boot: Uuid,
    /// Whom it is for.
    pub to: To,
    /// Counts the messages of that run.
    pub number: u64,
    /// When, by the sender's clock.
    pub sent_at: Timestamp,
    /// What it says.
    pub body: Bytes,
}

/// Why a text is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Another version, or a length that no message has.
    #[error("it has not the form of a message")]
    Form,
    /// Nobody with the key wrote it.
    #[error("no gateway of this installation wrote it")]
    Forged,
}

/// The key that every gateway of an installation has, and the bus has not.
pub struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Makes it of 32 bytes that serve no other purpose.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Names this installation's channels, so that several can share a server; it tells nothing of the key.
    pub(crate) fn prefix(&self) -> String {
        let tag = hmac::sign(&self.0, PREFIX);
        format!("adit:{}", hex::encode(tag.as_ref().get(..8).unwrap_or_default()))
    }

    /// Writes a message with its proof; `None` when its body is too long.
    pub fn seal(&self, message: &Message) -> Option<Bytes> {
        if message.body.len() > MAX_BODY {
            return None;
        }
        let mut out = BytesMut::with_capacity(HEAD + message.body.len() + TAG);
        out.put_u8(VERSION);
        out.put_slice(message.from.as_bytes());
        out.put_slice(message.boot.as_bytes());
        match message.to {
            To::All => out.put_bytes(0, 16),
            To::Gateway(id) => out.put_slice(id.as_bytes()),
        }
        out.put_u64(message.number);
        out.put_i64(message.sent_at.0);
        out.put_slice(&message.body);
        let tag = hmac::sign(&self.0, &out);
        out.put_slice(tag.as_ref());
        Some(out.freeze())
    }

    /// Reads a message that somebody with the key wrote.
    ///
    /// # Errors
    /// [`Refused`] for everything else; nothing of it is looked at before its proof.
    pub fn open(&self, text: &Bytes) -> Result<Message, Refused> {
        if !(HEAD + TAG..=HEAD + MAX_BODY + TAG).contains(&text.len())
            || !text.starts_with(&[VERSION])
        {
            return Err(Refused::Form);
        }
        let mut said = text.clone();
        let tag = said.split_off(said.len() - TAG);
        hmac::verify(&self.0, &said, &tag).map_err(|_| Refused::Forged)?;
        said.advance(1);
        let from = GatewayId(read_id(&mut said));
        let boot = read_id(&mut said);
        let to = match read_id(&mut said) {
            id if id.is_nil() => To::All,
            id => To::Gateway(GatewayId(id)),
        };
        let (number, sent_at) = (said.get_u64(), Timestamp(said.get_i64()));
        Ok(Message { from, boot, to, number, sent_at, body: said })
    }
}

/// Reads 16 bytes, which the length that was checked has.
fn read_id(said: &mut Bytes) -> Uuid {
    Uuid::from_u128(said.get_u128())
}

/// The version of this form.
const VERSION: u8 = 1;

/// The bytes before the body.
const HEAD: usize = 1 + 3 * 16 + 2 * 8;

/// The bytes of the proof.
const TAG: usize = 32;

/// What the name of the channels is made of; no message begins with it.
const PREFIX: &[u8] = b"adit bus channels v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            from: GatewayId(Uuid::from_u128(1)),
            boot: Uuid::from_u128(2),
            to: To::Gateway(GatewayId(Uuid::from_u128(3))),
            number: 4,
            sent_at: Timestamp(5),
            body: Bytes::from_static(b"hint"),
        }
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let key = Key::new(&[7; 32]);
        for message in [message(), Message { to: To::All, body: Bytes::new(), ..message() }] {
            assert_eq!(key.open(&key.seal(&message).unwrap()), Ok(message));
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_refused() {
        // MNO-03, MNO-05
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(&message()).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&bent.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_installations_message_is_forged() {
        // MNO-03
        let sealed = Key::new(&[8; 32]).seal(&message()).unwrap();
        assert_eq!(Key::new(&[7; 32]).open(&sealed), Err(Refused::Forged));
    }

    #[test]
    fn a_body_that_is_too_long_is_neither_sealed_nor_read() {
        let key = Key::new(&[7; 32]);
        let long = Message { body: vec![0; MAX_BODY + 1].into(), ..message() };
        assert_eq!(key.seal(&long), None);
        assert_eq!(key.open(&vec![VERSION; HEAD + MAX_BODY + TAG + 1].into()), Err(Refused::Form));
        assert_eq!(key.open(&Bytes::new()), Err(Refused::Form));
    }
}
