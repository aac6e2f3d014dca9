//! Sealed messages in their JSON form.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::capability::Capability;
use crate::json::{self, LoneSurrogate};
use crate::token::SessionToken;

mod open;
mod seal;

pub(crate) use open::{Expected, check};
pub use seal::{SealError, Sealer, seal, seal_with_nonce};

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
    /// The text under the HMAC, in which the payload stands as JSON writes it.
    mac_text: String,
    place: Range<usize>,
}

impl Payload {
    /// The JSON text.
    ///
    /// # Errors
    /// It holds a lone surrogate; `to_utf16` gives it all the same.
    pub fn to_text(&self) -> Result<String, LoneSurrogate> {
        json::decode(self.canonical())
    }

    /// The JSON text in UTF-16, as JavaScript has it.
    pub fn to_utf16(&self) -> Vec<u16> {
        json::decode_utf16(self.canonical())
    }

    /// About how many bytes there are.
    pub fn size_bytes(&self) -> usize {
        self.place.len()
    }

    fn canonical(&self) -> &str {
        &self.mac_text[self.place.clone()]
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes, hidden)", self.size_bytes())
    }
}

/// Milliseconds since 1970; a time before is 0.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1000).saturating_add(u64::from(since.subsec_millis()))
}

fn id_text(id: &Uuid, text: &mut [u8; 36]) {
    id.hyphenated().encode_lower(text);
}

/// The cap of a terminal's WebSocket messages: 64 KiB.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Everything in a message but its payload and its token, rounded up.
const OVERHEAD_BYTES: usize = 448;
