//! What can go wrong with the database, and what the caller can do about it.

use std::sync::Arc;

use adit_domain::Code;

/// A failure of the store: nothing of the operation was changed.
///
/// One case cannot be told apart: the connection to a server broke in the middle of a commit, and the server did not come back while
/// the writer tried. Then the change may be there, and its audit event with it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or could not make the change durable. Trying again may help.
    #[error("the database does not answer while {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why, where the driver says it.
        #[source]
        source: Option<Arc<sqlx::Error>>,
    },
    /// The change does not fit what is there.
    #[error("the change does not fit what is there: {0:?}")]
    Conflict(Conflict),
    /// What the operation is about is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A cursor that this list did not make.
    #[error("this cursor does not belong to this list")]
    BadCursor,
    /// Another process that lives holds this gateway's identity.
    #[error("another process runs with this gateway's identity")]
    GatewayInUse,
    /// Another process took this gateway's identity over; this one must stop.
    #[error("another process took over this gateway's identity")]
    Fenced,
    /// The database was made by a newer version.
    #[error(
        "the database is at version {found}, and this program knows {known} at most: install a newer Adit, \
         or restore a copy from before the change; nothing was changed"
    )]
    SchemaNewer {
        /// The database's version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A stored value that cannot be read.
    #[error("a stored {0} cannot be read")]
    Corrupt(&'static str),
}

/// How a change does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Somebody has that name.
    NameTaken,
    /// A machine has that label.
    LabelTaken,
    /// The row is there already.
    Exists,
    /// Something that the row names is not there.
    Refers,
}

impl StoreError {
    /// Gives the stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unavailable { .. } | Self::GatewayInUse | Self::Fenced => Code::StoreUnavailable,
            Self::Conflict(_) => Code::Conflict,
            Self::NotFound(_) => Code::NotFound,
            Self::BadCursor => Code::RequestInvalid,
            Self::SchemaNewer { .. } | Self::Corrupt(_) => Code::Internal,
        }
    }

    /// Tells whether the connection that gave this error is of no more use.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Unavailable { source: Some(source), .. } => {
                !matches!(**source, sqlx::Error::Database(ref error) if is_statements_own(error.as_ref()))
            }
            Self::Unavailable { source: None, .. } | Self::Fenced => true,
            _ => false,
        }
    }

    pub(crate) fn unavailable(doing: &'static str) -> Self {
        Self::Unavailable { doing, source: None }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error {
            if database.is_unique_violation() {
                return Self::Conflict(Conflict::Exists);
            }
            if database.is_foreign_key_violation() {
                return Self::Conflict(Conflict::Refers);
            }
        }
        Self::Unavailable { doing: "running a statement", source: Some(Arc::new(error)) }
    }
}

/// Tells whether a database error concerns one statement and leaves the transaction's savepoints usable: lock waits that ran out,
/// deadlocks, serialisation failures and broken constraints. Everything else (disk, connection) does not.
fn is_statements_own(error: &dyn sqlx::error::DatabaseError) -> bool {
    use sqlx::error::ErrorKind;
    let retryable = matches!(error.code().as_deref(), Some("40P01" | "40001" | "55P03" | "57014"));
    // What the statement was given is no such value (class 22): its own fault, and nobody else's.
    let bad_value = error.code().is_some_and(|code| code.len() == 5 && code.starts_with("22"));
    retryable || bad_value || !matches!(error.kind(), ErrorKind::Other)
}
