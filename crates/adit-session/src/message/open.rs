//! Opening: every check of a message but the nonce.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::{
    MESSAGE_BYTES_MAX, MessageType, OVERHEAD_BYTES, Payload, Receiver, SecureMessage, unix_ms,
};
use crate::json::{RawString, Reader};
use crate::refusal::{Fault, Refusal};
use crate::secret::MachineSecret;
use crate::token::SessionToken;
use crate::{lower_hex, timestamp};

/// Whom a message has to name to be for us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) receiver: Option<Receiver>,
    pub(crate) machine_id: Uuid,
    /// The session of this connection, where there is one.
    pub(crate) session_id: Option<Uuid>,
    pub(crate) skew: Duration,
}

/// Checks shape and size, then the time, then the HMAC; the nonce is not spent.
pub(crate) fn check(
    message: &[u8],
    expected: &Expected,
    secret: &MachineSecret,
    now: SystemTime,
) -> Result<SecureMessage, Refusal> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    let text = std::str::from_utf8(message).map_err(|_| Refusal::Malformed(Fault::Utf8))?;
    let fields = Fields::read(text).ok_or(Refusal::Malformed(Fault::Json))?;
    let shape = Shape::from_fields(&fields, expected)?;
    let apart_ms = unix_ms(now).abs_diff(shape.sent_at_ms);
    if u128::from(apart_ms) > expected.skew.as_millis() {
        return Err(Refusal::TimestampOutOfRange);
    }
    let (mac_text, place) = fields.mac_text();
    if !secret.verifies(mac_text.as_bytes(), &shape.hmac) {
        return Err(Refusal::HmacMismatch);
    }
    Ok(SecureMessage {
        kind: shape.kind,
        session_id: shape.session_id,
        machine_id: shape.machine_id,
        payload: Payload { mac_text, place },
        sent_at: UNIX_EPOCH + Duration::from_millis(shape.sent_at_ms),
        session_token: shape.session_token,
        nonce: shape.nonce,
    })
}

/// The strings of a message as they stand in it; all but the payload have one spelling.
struct Fields<'a> {
    kind: &'a str,
    session_token: Option<&'a str>,
    session_id: &'a str,
    machine_id: &'a str,
    payload: RawString<'a>,
    nonce: &'a str,
    timestamp: &'a str,
    hmac: &'a str,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Option<Self> {
        Self::read_as_written(text).or_else(|| Self::read_in_any_order(text))
    }

    /// Reads a message without a token as `JSON.stringify` writes it, which nearly every message is.
    ///
    /// The fields of fixed length may hold anything here; [`Shape`] takes only what has one spelling, and finds the same the other way.
    fn read_as_written(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix("{\"type\":\"")?.split_once('"')?;
        let rest = rest.strip_prefix(",\"sessionToken\":null,\"data\":{\"sessionId\":\"")?;
        let (session_id, rest) = rest.split_at_checked(36)?;
        let rest = rest.strip_prefix("\",\"machineId\":\"")?;
        let (machine_id, rest) = rest.split_at_checked(36)?;
        let mut reader = Reader::new(rest.strip_prefix("\",\"payload\":")?);
        let payload = reader.string()?;
        let rest = reader.rest().strip_prefix(",\"nonce\":\"")?;
        let (nonce, rest) = rest.split_at_checked(32)?;
        let rest = rest.strip_prefix("\",\"timestamp\":\"")?;
        let (timestamp, rest) = rest.split_at_checked(timestamp::TIMESTAMP_BYTES)?;
        let (hmac, rest) = rest.strip_prefix("\",\"hmac\":\"")?.split_at_checked(64)?;
        (rest == "\"}}").then_some(Self {
            kind,
            session_token: None,
            session_id,
            machine_id,
            payload,
            nonce,
            timestamp,
            hmac,
        })
    }

    /// Reads `{type, sessionToken?, data}` in any order of the keys, each key once and no other.
    fn read_in_any_order(text: &'a str) -> Option<Self> {
        let mut reader = Reader::new(text);
        let (mut kind, mut token, mut data) = (None, None, None);
        members(&mut reader, |name, reader| match name {
            "type" => once(&mut kind, reader.string()?.plain()?),
            "sessionToken" if reader.null() => once(&mut token, None),
            "sessionToken" => once(&mut token, Some(reader.object()?)),
            "data" => once(&mut data, Data::read(reader)?),
            _ => None,
        })?;
        reader.end()?;
        let data = data?;
        Some(Self {
            kind: kind?,
            session_token: token.flatten(),
            session_id: data.session_id?,
            machine_id: data.machine_id?,
            payload: data.payload?,
            nonce: data.nonce?,
            timestamp: data.timestamp?,
            hmac: data.hmac?,
        })
    }

    /// The text under the HMAC, and where the payload stands in it.
    fn mac_text(&self) -> (String, Range<usize>) {
        let mut text = String::with_capacity(self.payload.raw_bytes() + OVERHEAD_BYTES);
        let target = [
            "{\"type\":\"",
            self.kind,
            "\",\"sessionId\":\"",
            self.session_id,
            "\",\"machineId\":\"",
            self.machine_id,
            "\",\"payload\":\"",
        ];
        target.iter().for_each(|part| text.push_str(part));
        let from = text.len();
        self.payload.write_canonical(&mut text);
        let place = from..text.len();
        let rest = ["\",\"nonce\":\"", self.nonce, "\",\"timestamp\":\"", self.timestamp, "\"}"];
        rest.iter().for_each(|part| text.push_str(part));
        (text, place)
    }
}

/// The members of `data` that were there so far.
#[derive(Default)]
struct Data<'a> {
    session_id: Option<&'a str>,
    machine_id: Option<&'a str>,
    payload: Option<RawString<'a>>,
    nonce: Option<&'a str>,
    timestamp: Option<&'a str>,
    hmac: Option<&'a str>,
}

impl<'a> Data<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut data = Self::default();
        members(reader, |name, reader| {
            let value = reader.string()?;
            match name {
                "sessionId" => once(&mut data.session_id, value.plain()?),
                "machineId" => once(&mut data.machine_id, value.plain()?),
                "payload" => once(&mut data.payload, value),
                "nonce" => once(&mut data.nonce, value.plain()?),
                "timestamp" => once(&mut data.timestamp, value.plain()?),
                "hmac" => once(&mut data.hmac, value.plain()?),
                _ => None,
            }
        })?;
        Some(data)
    }
}

/// Reads an object, one member at a time.
fn members<'a>(
    reader: &mut Reader<'a>,
    mut member: impl FnMut(&str, &mut Reader<'a>) -> Option<()>,
) -> Option<()> {
    reader.take(b'{')?;
    loop {
        let name = reader.string()?.plain()?;
        reader.take(b':')?;
        member(name, reader)?;
        if !reader.took(b',') {
            return reader.take(b'}');
        }
    }
}

/// Fills a place that must be empty: a repeated key has two meanings.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// The fields of a message, read.
struct Shape {
    kind: MessageType,
    session_id: Uuid,
    machine_id: Uuid,
    nonce: [u8; 16],
    sent_at_ms: u64,
    hmac: [u8; 32],
    session_token: Option<SessionToken>,
}

impl Shape {
    fn from_fields(fields: &Fields<'_>, expected: &Expected) -> Result<Self, Refusal> {
        let malformed = |fault| move || Refusal::Malformed(fault);
        let token = fields.session_token.map(|json| SessionToken::from_json(json.as_bytes()));
        let shape = Self {
            kind: MessageType::find(fields.kind).ok_or_else(malformed(Fault::Type))?,
            session_id: id(fields.session_id).ok_or_else(malformed(Fault::Id))?,
            machine_id: id(fields.machine_id).ok_or_else(malformed(Fault::Id))?,
            nonce: lower_hex::read(fields.nonce.as_bytes()).ok_or_else(malformed(Fault::Nonce))?,
            sent_at_ms: timestamp::read(fields.timestamp.as_bytes())
                .ok_or_else(malformed(Fault::Timestamp))?,
            hmac: lower_hex::read(fields.hmac.as_bytes()).ok_or_else(malformed(Fault::Hmac))?,
            session_token: token.transpose().map_err(|_| Refusal::Malformed(Fault::Token))?,
        };
        shape.expect(expected)?;
        Ok(shape)
    }

    /// Compares what the message names with what this receiver knows by itself.
    fn expect(&self, expected: &Expected) -> Result<(), Refusal> {
        if expected.receiver.is_some_and(|receiver| receiver != self.kind.receiver()) {
            return Err(Refusal::WrongDirection);
        }
        if self.machine_id != expected.machine_id {
            return Err(Refusal::MachineMismatch);
        }
        if expected.session_id.is_some_and(|session| session != self.session_id) {
            return Err(Refusal::SessionMismatch);
        }
        match &self.session_token {
            Some(token) if token.session_id != self.session_id => Err(Refusal::SessionMismatch),
            Some(token) if token.machine_id != self.machine_id => Err(Refusal::MachineMismatch),
            _ => Ok(()),
        }
    }
}

/// Reads an id in its one spelling: 36 signs, lower case.
fn id(text: &str) -> Option<Uuid> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut digits = [0; 32];
    let mut place = 0;
    for (at, sign) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            (*sign == b'-').then_some(())?;
        } else {
            digits[place] = *sign;
            place += 1;
        }
    }
    lower_hex::read(&digits).map(Uuid::from_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = concat!(
        r#"{"type":"terminal_input","sessionToken":null,"data":"#,
        r#"{"sessionId":"8d3c0a4e-6a57-4f2b-9f10-1c2d3e4f5a6b","#,
        r#""machineId":"1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9","payload":"{\"a\":1}","#,
        r#""nonce":"00000000000000000000000000000000","timestamp":"2026-11-22T11:20:30.123Z","#,
        r#""hmac":"b23e7c3453ea8d0d0de77c13a54aa55345b18831632eb7a1948e1632ccf0796f"}}"#,
    );

    fn both(text: &str) -> (Option<String>, Option<String>) {
        let machine_id = Uuid::from_u128(0x1f2e_3d4c_5b6a_4978_8695_a4b3_c2d1_e0f9);
        let expected =
            Expected { receiver: None, machine_id, session_id: None, skew: Duration::ZERO };
        let shown = |fields: Fields<'_>| {
            Shape::from_fields(&fields, &expected).ok()?;
            Some(format!("{:?} {}", fields.mac_text(), fields.hmac))
        };
        let short = Fields::read_as_written(text).and_then(shown);
        (short, Fields::read_in_any_order(text).and_then(shown))
    }

    // SES-21
    #[test]
    fn a_message_as_it_is_written_is_read_the_short_way() {
        let (short, long) = both(GOOD);
        assert!(short.is_some());
        assert_eq!(short, long);
    }

    // SES-22
    #[test]
    fn an_id_has_one_spelling() {
        let good = "8d3c0a4e-6a57-4f2b-9f10-1c2d3e4f5a6b";
        assert_eq!(id(good), Uuid::try_parse(good).ok());
        for other in
            ["", "8d3c0a4e6a57-4f2b-9f10-1c2d3e4f5a6b-", "8D3c0a4e-6a57-4f2b-9f10-1c2d3e4f5a6b"]
        {
            assert_eq!(id(other), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        // TOK-27
        #[test]
        fn what_the_short_way_takes_the_long_way_takes_too_and_finds_the_same(
            from in 0..GOOD.len(), length in 0usize..4, insert in r#"["\\{},:a-f0-9 u]{0,3}"#,
        ) {
            let to = (from + length).min(GOOD.len());
            let (short, long) = both(&[&GOOD[..from], &insert, &GOOD[to..]].concat());
            prop_assert!(short.is_none() || short == long);
        }
    }
}
