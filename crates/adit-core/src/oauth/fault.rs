//! What the OAuth2 server answers instead of a token (RFC 6749 §5.2, RFC 8628 §3.5, RFC 8693 §2.2.2).

use adit_domain::scope::BadScope;
use adit_store::StoreError;

use crate::access::Refusal;

/// The reasons that a client can tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The request's form is wrong.
    InvalidRequest,
    /// The client is not known, or did not prove that it is.
    InvalidClient,
    /// A code or token that was used, has expired or never was.
    InvalidGrant,
    /// The client may not ask in this way.
    UnauthorizedClient,
    /// There is no such way to ask.
    UnsupportedGrantType,
    /// There is no such way to be answered.
    UnsupportedResponseType,
    /// A scope that is none, or more than the client may have.
    InvalidScope,
    /// The user said no.
    AccessDenied,
    /// The user has not answered yet.
    AuthorizationPending,
    /// The device asks too often.
    SlowDown,
    /// The user did not answer in time.
    ExpiredToken,
    /// The database does not answer.
    TemporarilyUnavailable,
    /// A defect.
    ServerError,
}

impl Reason {
    /// Gives the word in an answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// Gives the HTTP status of an answer with it.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::TemporarilyUnavailable => 503,
            Self::ServerError => 500,
            _ => 400,
        }
    }
}

/// An answer that is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {sentence}", .reason.as_str())]
pub struct Fault {
    /// What a program reads.
    pub reason: Reason,
    /// What a person reads.
    pub sentence: String,
}

impl Fault {
    /// Makes one.
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into() }
    }

    /// Says alike of an unknown client, a wrong secret and a missing one that the client did not prove who it is.
    pub fn client() -> Self {
        Self::new(Reason::InvalidClient, "There is no such client, or its secret is wrong.")
    }

    /// Says alike of a code or token that was used, has expired, never was or is another client's that it buys nothing.
    pub fn grant() -> Self {
        let sentence =
            "This code or token is used, expired, revoked, or was not given to this client.";
        Self::new(Reason::InvalidGrant, sentence)
    }

    /// Says that the request is not well formed.
    pub fn request(sentence: impl Into<String>) -> Self {
        Self::new(Reason::InvalidRequest, sentence)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        if error.code() == adit_domain::Code::StoreUnavailable {
            let sentence = "The database does not answer. Nothing was issued; try again.";
            return Self::new(Reason::TemporarilyUnavailable, sentence);
        }
        tracing::error!(%error, "the OAuth2 server could not go on");
        Self::new(
            Reason::ServerError,
            "Something failed inside the gateway. The log has the reason.",
        )
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error.into(),
            other if other.code().http_status() >= 500 => {
                Self::new(Reason::ServerError, other.to_string())
            }
            other => Self::new(Reason::AccessDenied, other.to_string()),
        }
    }
}

impl From<BadScope> for Fault {
    fn from(bad: BadScope) -> Self {
        // RFC 6749 §5.2 allows neither quotes nor backslashes there.
        let name = bad.0.replace(['"', '\\'], "");
        let sentence = format!("There is no scope {name}. A scope is the name of a capability.");
        Self::new(Reason::InvalidScope, sentence)
    }
}
