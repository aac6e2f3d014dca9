//! Tickets: single-use rights to open or join one session, seconds long.

use std::time::Duration;

use crate::{
    Capabilities, MachineId, PrincipalId, SessionId, TenantId, TicketId, Timestamp, TokenId,
};

/// How long a ticket lives unless a path says otherwise.
pub const LIFE: Duration = Duration::from_secs(30);

/// How long a ticket of `POST /api/terminal/spawn` lives (SES-40, TERM-3): a person may still have to open a page.
pub const SPAWN_LIFE: Duration = Duration::from_secs(300);

/// What a ticket opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A new session, whose id is reserved.
    Open,
    /// A session that lives: to come back to it, or to watch it.
    Join,
}

impl Purpose {
    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Join => "join",
        }
    }
}

/// A ticket as its row has it; the secret is not in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The handle that lists show.
    pub id: TicketId,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Who asked, and so who enters.
    pub principal: PrincipalId,
    /// Where the session lands.
    pub machine: MachineId,
    /// The session that it opens or joins.
    pub session: SessionId,
    /// Which of the two.
    pub purpose: Purpose,
    /// The most that may be done with it; looked at again when it is redeemed.
    pub capabilities: Capabilities,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// The sign-in or token that asked; whoever comes with the ticket goes when that ends.
    pub credential: Option<TokenId>,
    /// The key that whoever redeems it must prove, by its thumbprint; none: the ticket is enough.
    pub key: Option<Thumbprint>,
}

/// The SHA-256 thumbprint of a public key. Source: RFC 7638.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thumbprint(pub [u8; 32]);
