//! The socket: who is there is asked first, then what.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::helper::{Helper, Peer};
use crate::request::{
    Answer, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Refusal, Why, read_frame, write_frame,
};

/// How the socket is served.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a request may take to come, and an answer to go. A caller on this machine needs milliseconds.
    pub within: Duration,
    /// Connections at once; who comes later is told to come again. Each has a thread and at most one request in memory.
    pub connections: usize,
    /// How long nobody may ask before the helper ends, where systemd starts it anew; absent: it stays.
    pub idle: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { within: Duration::from_secs(5), connections: 8, idle: None }
    }
}

/// Serves until nobody asks for the idle time, or `end` can be read or is closed.
///
/// # Errors
/// The listener cannot be waited for.
pub fn serve(
    listener: &UnixListener,
    helper: &Helper,
    limits: Limits,
    end: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            match next(listener, limits.idle, end)? {
                Next::End => return Ok(()),
                // One that still works is not idle.
                Next::Idle if open.load(Ordering::Acquire) == 0 => return Ok(()),
                Next::Idle => {}
                Next::Peer(stream) => {
                    if open.fetch_add(1, Ordering::AcqRel) >= limits.connections {
                        open.fetch_sub(1, Ordering::AcqRel);
                        turn_away(&stream, helper);
                        continue;
                    }
                    let open = &open;
                    let spawned = std::thread::Builder::new().spawn_scoped(scope, move || {
                        let _leaves = Leaves(open);
                        converse(&stream, helper, limits);
                    });
                    if spawned.is_err() {
                        open.fetch_sub(1, Ordering::AcqRel);
                    }
                }
            }
        }
    })
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Next {
    Peer(UnixStream),
    Idle,
    End,
}

fn next(
    listener: &UnixListener,
    idle: Option<Duration>,
    end: Option<BorrowedFd<'_>>,
) -> io::Result<Next> {
    let timeout = idle.map(Timespec::try_from).transpose();
    let timeout = timeout.map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        fds.extend(end.map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(Next::Idle),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            return Ok(Next::End);
        }
        match listener.accept() {
            Ok((stream, _)) => return Ok(Next::Peer(stream)),
            // It went before it was taken, or all descriptors are in use until one of ours ends.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

/// Gives who is at the other end, as the kernel wrote it down when the connection was made.
fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(Peer { pid: credentials.pid.as_raw_pid(), user: credentials.uid.as_raw() })
}

fn turn_away(stream: &UnixStream, helper: &Helper) {
    let refusal = Refusal::new(
        Why::Busy,
        "the helper has as many connections as it takes; ask again in some seconds",
    );
    helper.note_refusal(peer(stream).ok(), &refusal);
    // Whoever does not read must not hold the others up.
    let _ = stream.set_nonblocking(true);
    tell(stream, &Answer::Refused(refusal));
}

fn converse(stream: &UnixStream, helper: &Helper, limits: Limits) {
    let prepared = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_write_timeout(Some(limits.within)))
        .and_then(|()| peer(stream));
    let Ok(peer) = prepared else { return };
    if !helper.may_ask(peer) {
        let refusal = Refusal::new(
            Why::Peer,
            "this account may not ask the helper; run it as the gateway's account, or let root do it without the helper",
        );
        helper.note_refusal(Some(peer), &refusal);
        return tell(stream, &Answer::Refused(refusal));
    }
    let mut within = Within { stream, until: Instant::now() + limits.within };
    let answer = match read_frame(&mut within, MAX_REQUEST_BYTES) {
        Ok(request) => helper.answer(peer, request.expose()),
        Err(error) => {
            let refusal = Refusal::new(Why::Request, unread(&error));
            helper.note_refusal(Some(peer), &refusal);
            Answer::Refused(refusal)
        }
    };
    tell(stream, &answer);
}

fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => format!(
            "the request is longer than {MAX_REQUEST_BYTES} bytes; send the certificate and its issuers only"
        ),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            "the request did not come within its time; send it at once".to_owned()
        }
        _ => "the request ended before its length; send it whole".to_owned(),
    }
}

fn tell(stream: &UnixStream, answer: &Answer) {
    let Ok(bytes) = serde_json::to_vec(answer) else { return };
    let mut stream = stream;
    // Whoever went does not need the answer; the log has it.
    let _ = write_frame(&mut stream, &bytes, MAX_ANSWER_BYTES);
}

/// Reads until a moment, however slowly the bytes come.
struct Within<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Read for Within<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut stream = self.stream;
        stream.read(bytes)
    }
}
