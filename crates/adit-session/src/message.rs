//! Sealed messages in their JSON form: sealing, and every check of opening but the nonce.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::capability::Capability;
use crate::json::{self, LoneSurrogate, RawString, Reader};
use crate::refusal::{Fault, Refusal};
use crate::secret::{MachineSecret, NoRandomness, random_16};
use crate::timestamp;
use crate::token::SessionToken;

/// What a sealed message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageType {
    /// Start a shell.
    TerminalSpawn,
    /// Bytes for the terminal.
    TerminalInput,
    /// A new size of the screen.
    TerminalResize,
    /// Run a command.
    ExecuteCommand,
    /// Bytes that the terminal wrote.
    TerminalOutput,
    /// The shell or command ended.
    TerminalExit,
}

/// Who a message is for; a message for one end is refused at the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// The machine: spawn, input, resize and execute.
    Machine,
    /// The gateway: output and exit.
    Gateway,
}

impl MessageType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::TerminalSpawn,
        Self::TerminalInput,
        Self::TerminalResize,
        Self::ExecuteCommand,
        Self::TerminalOutput,
        Self::TerminalExit,
    ];

    /// The name in the message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TerminalSpawn => "terminal_spawn",
            Self::TerminalInput => "terminal_input",
            Self::TerminalResize => "terminal_resize",
            Self::ExecuteCommand => "execute_command",
            Self::TerminalOutput => "terminal_output",
            Self::TerminalExit => "terminal_exit",
        }
    }

    /// Who such a message is for.
    pub fn receiver(self) -> Receiver {
        match self {
            Self::TerminalSpawn
            | Self::TerminalInput
            | Self::TerminalResize
            | Self::ExecuteCommand => Receiver::Machine,
            Self::TerminalOutput | Self::TerminalExit => Receiver::Gateway,
        }
    }

    /// What a session must be allowed to do for such a message; nothing for what a machine sends back.
    pub fn capability(self) -> Option<Capability> {
        match self {
            Self::TerminalSpawn => Some(Capability::SPAWN),
            Self::TerminalInput => Some(Capability::INPUT),
            Self::TerminalResize => Some(Capability::RESIZE),
            Self::ExecuteCommand => Some(Capability::EXEC),
            Self::TerminalOutput | Self::TerminalExit => None,
        }
    }

    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// A message to be sealed.
#[derive(Clone, Copy)]
pub struct Draft<'a> {
    /// What it asks for.
    pub kind: MessageType,
    /// The session that it belongs to.
    pub session_id: Uuid,
    /// The machine that it goes to or comes from.
    pub machine_id: Uuid,
    /// JSON text, carried as a string.
    pub payload: &'a str,
    /// The session's token, for a receiver that can check it; machines need none.
    pub session_token: Option<&'a SessionToken>,
}

/// Seals a message with a nonce of its own.
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
    let mut text =
        Vec::with_capacity(draft.payload.len() + draft.payload.len() / 4 + MAC_TEXT_OVERHEAD_BYTES);
    let mut nonce_hex = [0; 32];
    hex::encode_to_slice(nonce, &mut nonce_hex).expect("32 digits hold 16 bytes");
    let data_from = open_mac_text(
        &mut text,
        draft.kind,
        &id_text(draft.session_id),
        &id_text(draft.machine_id),
    );
    json::write_string(&mut text, draft.payload);
    close_mac_text(&mut text, &nonce_hex, &timestamp::write(unix_ms(now)));
    let tag = secret.sign(&text);
    let mut tag_hex = [0; 64];
    hex::encode_to_slice(tag.as_ref(), &mut tag_hex).expect("64 digits hold 32 bytes");

    let mut message = Vec::with_capacity(text.len() + 200);
    message.extend_from_slice(b"{\"type\":\"");
    message.extend_from_slice(draft.kind.as_str().as_bytes());
    message.extend_from_slice(b"\",\"sessionToken\":");
    match draft.session_token {
        Some(token) => message.extend_from_slice(token.to_json().as_bytes()),
        None => message.extend_from_slice(b"null"),
    }
    message.extend_from_slice(b",\"data\":{");
    message.extend_from_slice(&text[data_from..text.len() - 1]);
    message.extend_from_slice(b",\"hmac\":\"");
    message.extend_from_slice(&tag_hex);
    message.extend_from_slice(b"\"}}");
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(SealError::TooLarge);
    }
    Ok(String::from_utf8(message).expect("every part is UTF-8"))
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

/// A message whose shape, time, HMAC and nonce were found right.
#[derive(Debug)]
pub struct SecureMessage {
    /// What it asks for.
    pub kind: MessageType,
    /// The session that it belongs to.
    pub session_id: Uuid,
    /// The machine that it goes to or comes from.
    pub machine_id: Uuid,
    /// The JSON text that it carries.
    pub payload: Payload,
    /// When its sender says that it was made, within the skew.
    pub sent_at: SystemTime,
    /// The token that came with it, not yet checked.
    pub session_token: Option<SessionToken>,
    pub(crate) nonce: [u8; 16],
}

impl SecureMessage {
    /// The last moment at which the message would be accepted.
    pub(crate) fn accepted_until(&self, skew: Duration) -> SystemTime {
        self.sent_at + skew
    }
}

/// What a message carries; it cannot be shown.
pub struct Payload {
    canonical: String,
}

impl Payload {
    /// The JSON text.
    ///
    /// # Errors
    /// It holds a lone surrogate; `to_utf16` gives it all the same.
    pub fn to_text(&self) -> Result<String, LoneSurrogate> {
        json::decode(&self.canonical)
    }

    /// The JSON text in UTF-16, as JavaScript has it.
    pub fn to_utf16(&self) -> Vec<u16> {
        json::decode_utf16(&self.canonical)
    }

    /// About how many bytes there are.
    pub fn size_bytes(&self) -> usize {
        self.canonical.len()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes, hidden)", self.canonical.len())
    }
}

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
    let (mac_text, payload) = shape.mac_text(&fields);
    if !secret.verifies(&mac_text, &shape.hmac) {
        return Err(Refusal::HmacMismatch);
    }
    let canonical = String::from_utf8(mac_text[payload].to_vec()).expect("canonical text is UTF-8");
    Ok(SecureMessage {
        kind: shape.kind,
        session_id: shape.session_id,
        machine_id: shape.machine_id,
        payload: Payload { canonical },
        sent_at: UNIX_EPOCH + Duration::from_millis(shape.sent_at_ms),
        session_token: shape.session_token,
        nonce: shape.nonce,
    })
}

/// The strings of a message as they stand in it.
struct Fields<'a> {
    kind: RawString<'a>,
    session_token: Option<&'a str>,
    session_id: RawString<'a>,
    machine_id: RawString<'a>,
    payload: RawString<'a>,
    nonce: RawString<'a>,
    timestamp: RawString<'a>,
    hmac: RawString<'a>,
}

impl<'a> Fields<'a> {
    /// Reads `{type, sessionToken?, data}` in any order of the keys, each key once and no other.
    fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader::new(text);
        let (mut kind, mut token, mut data) = (None, None, None);
        members(&mut reader, |name, reader| match name {
            "type" => once(&mut kind, reader.string()?),
            "sessionToken" if reader.null() => once(&mut token, None),
            "sessionToken" => once(&mut token, Some(reader.object()?)),
            "data" => once(&mut data, read_data(reader)?),
            _ => None,
        })?;
        reader.end()?;
        let [session_id, machine_id, payload, nonce, timestamp, hmac] = data?;
        Some(Self {
            kind: kind?,
            session_token: token.flatten(),
            session_id,
            machine_id,
            payload,
            nonce,
            timestamp,
            hmac,
        })
    }
}

fn read_data<'a>(reader: &mut Reader<'a>) -> Option<[RawString<'a>; 6]> {
    let mut found = [None; 6];
    members(reader, |name, reader| {
        let place = DATA_NAMES.iter().position(|one| *one == name)?;
        once(&mut found[place], reader.string()?)
    })?;
    let [a, b, c, d, e, f] = found;
    Some([a?, b?, c?, d?, e?, f?])
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
        let kind =
            fields.kind.plain().and_then(MessageType::find).ok_or_else(malformed(Fault::Type))?;
        let shape = Self {
            kind,
            session_id: id(fields.session_id).ok_or_else(malformed(Fault::Id))?,
            machine_id: id(fields.machine_id).ok_or_else(malformed(Fault::Id))?,
            nonce: lower_hex(fields.nonce).ok_or_else(malformed(Fault::Nonce))?,
            sent_at_ms: fields
                .timestamp
                .plain()
                .and_then(|text| timestamp::read(text.as_bytes()))
                .ok_or_else(malformed(Fault::Timestamp))?,
            hmac: lower_hex(fields.hmac).ok_or_else(malformed(Fault::Hmac))?,
            session_token: match fields.session_token {
                None => None,
                Some(json) => Some(
                    SessionToken::from_json(json.as_bytes())
                        .map_err(|_| Refusal::Malformed(Fault::Token))?,
                ),
            },
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

    /// The text under the HMAC, and where the payload stands in it.
    fn mac_text(&self, fields: &Fields<'_>) -> (Vec<u8>, std::ops::Range<usize>) {
        let mut text = Vec::with_capacity(
            MESSAGE_BYTES_MAX.min(fields.payload.raw_bytes() + MAC_TEXT_OVERHEAD_BYTES),
        );
        open_mac_text(&mut text, self.kind, &id_text(self.session_id), &id_text(self.machine_id));
        let from = text.len() + 1;
        text.push(b'"');
        fields.payload.write_canonical(&mut text);
        text.push(b'"');
        let payload = from..text.len() - 1;
        let mut nonce = [0; 32];
        hex::encode_to_slice(self.nonce, &mut nonce).expect("32 digits hold 16 bytes");
        close_mac_text(&mut text, &nonce, &timestamp::write(self.sent_at_ms));
        (text, payload)
    }
}

/// Writes `{"type":…,"sessionId":…,"machineId":…,"payload":` and says where the members of `data` begin.
fn open_mac_text(
    text: &mut Vec<u8>,
    kind: MessageType,
    session: &[u8; 36],
    machine: &[u8; 36],
) -> usize {
    text.extend_from_slice(b"{\"type\":\"");
    text.extend_from_slice(kind.as_str().as_bytes());
    text.extend_from_slice(b"\",");
    let data_from = text.len();
    text.extend_from_slice(b"\"sessionId\":\"");
    text.extend_from_slice(session);
    text.extend_from_slice(b"\",\"machineId\":\"");
    text.extend_from_slice(machine);
    text.extend_from_slice(b"\",\"payload\":");
    data_from
}

fn close_mac_text(
    text: &mut Vec<u8>,
    nonce: &[u8; 32],
    timestamp: &[u8; timestamp::TIMESTAMP_BYTES],
) {
    text.extend_from_slice(b",\"nonce\":\"");
    text.extend_from_slice(nonce);
    text.extend_from_slice(b"\",\"timestamp\":\"");
    text.extend_from_slice(timestamp);
    text.extend_from_slice(b"\"}");
}

fn id_text(id: Uuid) -> [u8; 36] {
    let mut text = [0; 36];
    id.hyphenated().encode_lower(&mut text);
    text
}

/// Reads an id in its one spelling: 36 signs, lower case.
fn id(raw: RawString<'_>) -> Option<Uuid> {
    let text = raw.plain()?;
    let id = (text.len() == 36).then(|| Uuid::try_parse(text).ok())??;
    (id_text(id) == text.as_bytes()).then_some(id)
}

fn lower_hex<const N: usize>(raw: RawString<'_>) -> Option<[u8; N]> {
    let text = raw.plain()?.as_bytes();
    if text.len() != 2 * N || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The cap of a terminal's WebSocket messages: 64 KiB.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const DATA_NAMES: [&str; 6] = ["sessionId", "machineId", "payload", "nonce", "timestamp", "hmac"];
/// Everything in the text under the HMAC but the payload, rounded up.
const MAC_TEXT_OVERHEAD_BYTES: usize = 256;
