//! What a command says when it cannot do what it was asked: one sentence, a stable code, an exit status.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;

use crate::output::escape;

/// The exit status of a command that Adit refused or could not run; the remote command's own statuses end below it.
pub const FAILED: u8 = 125;

/// The exit status of a wrong command line, as of every Unix tool.
const USAGE: u8 = 2;

/// The exit status of a command whose reader went away: 128 and SIGPIPE, as a shell reports it.
const PIPE: u8 = 141;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is wrong in a way that its grammar cannot say.
    #[error("{0}")]
    Usage(String),
    /// Nothing says where the gateway is.
    #[error("no gateway is known: set ADIT_URL and ADIT_TOKEN, or sign in with `adit login URL`")]
    NoGateway,
    /// There is no token for the gateway.
    #[error("there is no token for {0}: set ADIT_TOKEN, or sign in with `adit login {0}`")]
    NoToken(String),
    /// The gateway's address is of no use.
    #[error("{url} is no gateway's address: {why}")]
    Address {
        /// The address as it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No answer came.
    #[error("{url} does not answer ({cause}); is the gateway running, and is the address right?")]
    Unreachable {
        /// The gateway's address.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// Its certificate is not trusted.
    #[error(
        "{url} shows a certificate that is not trusted here ({cause}); name its authority with --ca FILE or ADIT_CA, and look twice if it used to be trusted"
    )]
    Untrusted {
        /// The gateway's address.
        url: String,
        /// What is wrong with the certificate.
        cause: String,
    },
    /// The gateway refused.
    #[error("{}", .0.sentence())]
    Refused(Problem),
    /// The answer is none that this version understands.
    #[error(
        "the gateway's answer cannot be read ({0}); is it of the same version as this command?"
    )]
    Answer(String),
    /// The file of credentials cannot be trusted.
    #[error("{path} is not used because {why}; {mend}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        mend: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{what}: {cause}")]
    File {
        /// What was being done, to what.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Something is not as it should be, and that was the question.
    #[error("{sentence}")]
    Found {
        /// What is wrong.
        sentence: String,
        /// The stable code.
        code: &'static str,
    },
    /// The terminal cannot be used as one.
    #[error("{0}")]
    Terminal(String),
    /// The key of this process cannot be made or used.
    #[error("a key for the session cannot be made or used ({0}); try again")]
    Key(String),
    /// The session ended for a reason that is not the command's own.
    #[error("{sentence}")]
    Ended {
        /// Why.
        sentence: String,
        /// The stable code.
        code: String,
    },
    /// Whoever read the output went away.
    #[error("nobody reads the output any more")]
    Pipe,
}

impl Failure {
    /// Gives the stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "client.usage",
            Self::NoGateway => "client.no_gateway",
            Self::NoToken(_) => "client.no_token",
            Self::Address { .. } => "client.address",
            Self::Unreachable { .. } => "client.unreachable",
            Self::Untrusted { .. } => "client.untrusted",
            Self::Refused(problem) => &problem.code,
            Self::Answer(_) => "client.answer",
            Self::Credentials { .. } => "client.credentials",
            Self::File { .. } => "client.file",
            Self::Found { code, .. } => code,
            Self::Terminal(_) => "client.terminal",
            Self::Key(_) => "client.key",
            Self::Ended { code, .. } => code,
            Self::Pipe => "client.pipe",
        }
    }

    /// Gives the exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Pipe => PIPE,
            _ => FAILED,
        }
    }

    /// Says it on standard error and gives the exit status.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Self::Pipe) {
            eprintln!("adit: {} [{}]", escape(&self.to_string()), escape(self.code()));
        }
        ExitCode::from(self.status())
    }

    /// Tells an address that does not answer from one whose certificate is not trusted, by the innermost cause.
    pub fn unreachable(url: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut inner = error;
        while let Some(deeper) = inner.source() {
            inner = deeper;
        }
        let (url, cause) = (url.to_owned(), inner.to_string());
        // An io::Error hides what it wraps from source().
        let wrapped = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>());
        match tls.or_else(|| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Untrusted { url, cause },
            _ => Self::Unreachable { url, cause },
        }
    }

    /// Wraps what the system said about a file.
    pub fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |cause| Self::File { what, cause }
    }
}

impl From<io::Error> for Failure {
    /// Takes an error of standard output: everything else says what it was about.
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::File { what: "writing to standard output".to_owned(), cause },
        }
    }
}

/// An error as the gateway tells it.
///
/// Source: RFC 9457.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of error in words.
    pub title: String,
    /// What happened and what to do.
    pub detail: String,
    /// The stable code.
    pub code: String,
}

impl Problem {
    fn sentence(&self) -> String {
        let told = if self.detail.is_empty() { &self.title } else { &self.detail };
        match told.is_empty() {
            true => format!("the gateway answered {}", self.status),
            false => told.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adit_refuses_is_125_and_a_wrong_command_line_is_2() {
        assert_eq!(Failure::Refused(Problem::default()).status(), 125);
        assert_eq!(Failure::NoGateway.status(), 125);
        assert_eq!(Failure::Usage(String::new()).status(), 2);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).status(), 141);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_apart() {
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let failure = Failure::unreachable("https://a", &io::Error::other(bad));
        assert_eq!(failure.code(), "client.untrusted");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::unreachable("https://a", &refused).code(), "client.unreachable");
    }

    #[test]
    fn a_refusal_tells_the_gateways_own_sentence() {
        let problem = Problem {
            status: 503,
            title: "Offline".to_owned(),
            detail: "The machine is offline. Start its agent, then try again.".to_owned(),
            code: "target.offline".to_owned(),
        };
        let failure = Failure::Refused(problem);
        assert_eq!(failure.to_string(), "The machine is offline. Start its agent, then try again.");
        assert_eq!(failure.code(), "target.offline");
    }
}
