//! An accepted connection with its places among all and among its address's: it keeps them for as long as it lives, also once it has
//! become a WebSocket, and it ends so that its last words arrive.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_core::places::Place;
use adit_core::tasks::Tasks;
use metrics::gauge;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

/// How long a peer that still sends may take to hear the end.
const LINGER_FOR: Duration = Duration::from_secs(2);

/// What a connection holds of its listener.
pub(super) struct Hold {
    _slot: OwnedSemaphorePermit,
    _place: Place<IpAddr>,
}

impl Hold {
    pub(super) fn new(slot: OwnedSemaphorePermit, place: Place<IpAddr>) -> Self {
        gauge!("adit_connections").increment(1.0);
        Self { _slot: slot, _place: place }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        gauge!("adit_connections").decrement(1.0);
    }
}

/// A connection and what it holds. Dropped before its peer has ended, it says its end first and reads on for a while: a socket that is
/// closed with bytes unread resets the connection (RFC 1122 §4.2.2.13), and an answer on its way is lost (RFC 9112 §9.6).
pub(super) struct Held {
    live: Option<(TcpStream, Hold)>,
    over: bool,
    patience: Patience,
    tasks: Tasks,
}

/// Whether a connection waits for its peer however long that does not read: asked for once it carries a stream between others.
#[derive(Clone, Default, Debug)]
pub struct Patience(Arc<AtomicBool>);

impl Patience {
    /// Asks for it; it is taken up with the next byte that is read or written.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Held {
    pub(super) fn new(stream: TcpStream, hold: Hold, tasks: Tasks) -> Self {
        Self { live: Some((stream, hold)), over: false, patience: Patience::default(), tasks }
    }

    /// Gives what asks for patience.
    pub(super) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let live = self.live.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if self.patience.0.swap(false, Ordering::Relaxed) {
            adit_link::dial::be_patient(&live.0)?;
        }
        Ok(Pin::new(&mut live.0))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((stream, hold)) = self.live.take() else { return };
        if self.over || self.tasks.is_ending() || Handle::try_current().is_err() {
            return;
        }
        let ending = self.tasks.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = ending.ending() => {}
                // How it ended matters to nobody any more.
                _ = tokio::time::timeout(LINGER_FOR, hear_out(stream)) => {}
            }
            drop(hold);
        });
    }
}

async fn hear_out(mut stream: TcpStream) -> io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, filled) = (buffer.remaining(), buffer.filled().len());
        let read = ready!(self.stream()?.poll_read(cx, buffer));
        self.over |= read.is_err() || (room > 0 && buffer.filled().len() == filled);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.live.as_ref().is_some_and(|(stream, _)| stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
