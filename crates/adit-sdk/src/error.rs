//! What can go wrong.

/// The gateway's refusal of a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} ({status_code})")]
pub struct TicketHttpError {
    /// The HTTP status.
    pub status_code: u16,
    /// The stable code, where the gateway gave one: `ticket.invalid`.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// The gateway refused it.
    #[error(transparent)]
    Http(#[from] TicketHttpError),
    /// The gateway does not answer.
    #[error("the gateway does not answer: {}", below(.0.as_ref()))]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gateway's answer is not what the contract says.
    #[error("the gateway answered something else than a {0}")]
    Answer(&'static str),
    /// A certificate, a key or a bundle that cannot be used.
    #[error("{0}")]
    Identity(String),
    /// The other machine, or the way to it.
    #[error("{0}")]
    Stream(String),
}

impl TicketError {
    /// Gives the HTTP status of a refusal.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Http(refusal) => Some(refusal.status_code),
            _ => None,
        }
    }

    /// Tells whether the gateway says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status_code() == Some(404)
    }
}

impl From<reqwest::Error> for TicketError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url().into())
    }
}

/// Gives the innermost cause: what a person can act on.
fn below(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut last: &(dyn std::error::Error + 'static) = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
