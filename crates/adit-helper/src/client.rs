//! Asking the helper: what a gateway and `adit helper` use.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::request::{
    Answer, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Refusal, Request, read_frame, write_frame,
};

/// How long a client waits: somewhat longer than the helper lets a program run.
const WITHIN: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there, or this account may not connect.
    #[error(
        "the helper cannot be reached at {path}: {cause}; `systemctl status adit-helper.socket` says whether it listens, and only the gateway's account may connect"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The connection broke.
    #[error(
        "the helper did not answer: {0}; its own log (`adit helper verify`) says whether it was done"
    )]
    Lost(io::Error),
    /// It is more than a request may be.
    #[error(
        "the request is longer than {MAX_REQUEST_BYTES} bytes; send the certificate and its issuers only"
    )]
    Long,
    /// The helper said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// In a sentence.
    pub sentence: String,
    /// The first of what a program said.
    pub output: String,
}

/// Where the helper is.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Will ask at this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks for one thing, and waits until it is done. It blocks: an async caller gives it a thread.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(&self, request: &Request) -> Result<Done, AskError> {
        let bytes = serde_json::to_vec(request).map_err(io::Error::from).map_err(AskError::Lost)?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(AskError::Long);
        }
        let mut stream = UnixStream::connect(&self.socket)
            .map_err(|cause| AskError::Connect { path: self.socket.clone(), cause })?;
        let limited = stream
            .set_read_timeout(Some(WITHIN))
            .and_then(|()| stream.set_write_timeout(Some(WITHIN)));
        limited.map_err(AskError::Lost)?;
        // Who is refused is told so before the request is read; the answer says more than the broken pipe.
        let sent = write_frame(&mut stream, &bytes, MAX_REQUEST_BYTES);
        let answer = match read_frame(&mut stream, MAX_ANSWER_BYTES) {
            Ok(answer) => answer,
            Err(error) => return Err(AskError::Lost(sent.err().unwrap_or(error))),
        };
        match serde_json::from_slice(answer.expose()).map_err(io::Error::from) {
            Ok(Answer::Done { sentence, output }) => Ok(Done { sentence, output }),
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            Err(error) => Err(AskError::Lost(error)),
        }
    }
}
