//! Why a message or a token is refused: stable codes, a sentence each, and one code for the peer.

use crate::bucket::RetryAfter;

/// Why a sealed message is refused. The log gets this; the peer gets [`Refusal::peer_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Over the size limit; nothing of it was read.
    #[error("the message is over 65,536 bytes")]
    TooLarge,
    /// Not a sealed message.
    #[error("the message is malformed: {0}")]
    Malformed(Fault),
    /// Of the other direction.
    #[error("the message is of the other direction")]
    WrongDirection,
    /// For another machine.
    #[error("the message names another machine")]
    MachineMismatch,
    /// Of another session than this connection's.
    #[error("the message names another session")]
    SessionMismatch,
    /// Too old or too new.
    #[error("the message's time is too far from this clock")]
    TimestampOutOfRange,
    /// Changed on the way, or made with another secret.
    #[error("the message's HMAC is wrong")]
    HmacMismatch,
    /// Seen before.
    #[error("the message was received before")]
    Replayed,
    /// The nonce history is full; nothing is forgotten early.
    #[error("the nonce history is full")]
    NonceHistoryFull,
    /// The nonce history lost a part and waits until nothing from before can be accepted.
    #[error("the nonce history was lost and is not yet safe again")]
    NonceHistoryClosed,
    /// The nonce cannot be made durable.
    #[error("the nonce history cannot be written")]
    NonceHistoryUnavailable,
    /// More sessions of this form on one machine than its history has room for.
    #[error("too many sessions of the JSON form on this machine")]
    TooManySessions,
    /// No such session, or it ended.
    #[error("the session is not live")]
    SessionNotLive,
    /// The session's token expired.
    #[error("the session's token expired")]
    SessionExpired,
    /// The token in the message is not the session's.
    #[error("the message's session token is not valid")]
    TokenInvalid,
    /// The session may not do this.
    #[error("the session lacks the capability")]
    CapabilityMissing,
    /// Over the rate limit; the same message may be sent again later.
    #[error("rate limited: {0}")]
    RateLimited(RetryAfter),
    /// The store of sessions did not answer.
    #[error("the store of sessions did not answer")]
    StoreUnavailable,
}

impl Refusal {
    /// Stable code, for the log and the audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "message.too_large",
            Self::Malformed(_) => "message.malformed",
            Self::WrongDirection => "message.wrong_direction",
            Self::MachineMismatch => "message.machine_mismatch",
            Self::SessionMismatch => "message.session_mismatch",
            Self::TimestampOutOfRange => "message.timestamp_out_of_range",
            Self::HmacMismatch => "message.hmac_mismatch",
            Self::Replayed => "message.replayed",
            Self::NonceHistoryFull => "message.nonce_history_full",
            Self::NonceHistoryClosed => "message.nonce_history_closed",
            Self::NonceHistoryUnavailable => "message.nonce_history_unavailable",
            Self::TooManySessions => "message.too_many_sessions",
            Self::SessionNotLive => "session.not_live",
            Self::SessionExpired => "session.expired",
            Self::TokenInvalid => "message.token_invalid",
            Self::CapabilityMissing => "session.capability_missing",
            Self::RateLimited(_) => "rate_limited",
            Self::StoreUnavailable => "session.store_unavailable",
        }
    }

    /// What the sender may be told: the rate limit, the end of its session, a missing right, or one code for all else.
    pub fn peer_code(&self) -> &'static str {
        match self {
            Self::RateLimited(_)
            | Self::SessionNotLive
            | Self::SessionExpired
            | Self::CapabilityMissing => self.code(),
            Self::TooLarge
            | Self::Malformed(_)
            | Self::WrongDirection
            | Self::MachineMismatch
            | Self::SessionMismatch
            | Self::TimestampOutOfRange
            | Self::HmacMismatch
            | Self::Replayed
            | Self::NonceHistoryFull
            | Self::NonceHistoryClosed
            | Self::NonceHistoryUnavailable
            | Self::TooManySessions
            | Self::TokenInvalid
            | Self::StoreUnavailable => "message.refused",
        }
    }

    /// Tells a wrong or repeated message, which counts towards the session's end, from one that only came at a wrong time.
    pub fn is_bad_message(&self) -> bool {
        match self {
            Self::TooLarge
            | Self::Malformed(_)
            | Self::WrongDirection
            | Self::MachineMismatch
            | Self::SessionMismatch
            | Self::TimestampOutOfRange
            | Self::HmacMismatch
            | Self::Replayed
            | Self::TokenInvalid => true,
            Self::NonceHistoryFull
            | Self::NonceHistoryClosed
            | Self::NonceHistoryUnavailable
            | Self::TooManySessions
            | Self::SessionNotLive
            | Self::SessionExpired
            | Self::CapabilityMissing
            | Self::RateLimited(_)
            | Self::StoreUnavailable => false,
        }
    }
}

/// What is wrong with the shape of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bytes that are no UTF-8.
    #[error("it is no UTF-8")]
    Utf8,
    /// No JSON object with exactly these keys, each once.
    #[error("it is not exactly one JSON object of type, sessionToken and data")]
    Json,
    /// A type that nobody knows.
    #[error("its type is unknown")]
    Type,
    /// An id in another spelling than 36 lower-case signs.
    #[error("an id is no lower-case UUID")]
    Id,
    /// Not 32 lower-case hex digits.
    #[error("its nonce is not 32 lower-case hex digits")]
    Nonce,
    /// Not ISO 8601 UTC with milliseconds.
    #[error("its timestamp is not of the form 2026-01-31T23:59:59.999Z")]
    Timestamp,
    /// Not 64 lower-case hex digits.
    #[error("its hmac is not 64 lower-case hex digits")]
    Hmac,
    /// A session token of another shape.
    #[error("its session token has another shape")]
    Token,
}

/// The answer of `validate_secure_message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validation {
    /// Whether the message is right and was not seen before.
    pub valid: bool,
    /// Why not.
    pub reason: Option<Refusal>,
}

impl From<Result<(), Refusal>> for Validation {
    fn from(outcome: Result<(), Refusal>) -> Self {
        Self { valid: outcome.is_ok(), reason: outcome.err() }
    }
}
