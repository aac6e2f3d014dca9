//! The local terminal in raw mode, and back: at the end, on a signal, and on a panic.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::cli::failure::Failure;

/// What the terminal was before, for the panic hook; there is one terminal.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal in raw mode until this is dropped.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Takes the terminal on standard input.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub fn begin() -> Result<Self, Failure> {
        let wrong = |cause: rustix::io::Errno| {
            Failure::Terminal(format!("this terminal cannot be set to raw mode: {cause}"))
        };
        let before = tcgetattr(std::io::stdin()).map_err(wrong)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        restore_on_panic();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(wrong)?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _terminal_went_away = tcsetattr(std::io::stdin(), OptionalActions::Drain, &before);
    }
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _reader_went_away = std::io::stdout().write_all(b"\x1b[?1049l\x1b[?25h\x1b[0m\r\n");
            restore();
            report(panic);
        }));
    });
}

/// A window's size in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its width.
    pub cols: u16,
    /// Its height.
    pub rows: u16,
}

impl Size {
    /// What a terminal without a size is taken for: that of a VT100.
    pub const USUAL: Self = Self { cols: 80, rows: 24 };

    /// Asks the terminal on standard output, or else on standard input.
    pub fn now() -> Self {
        let asked = [tcgetwinsize(std::io::stdout()), tcgetwinsize(std::io::stdin())];
        asked
            .into_iter()
            .flatten()
            .find(|size| size.ws_col > 0 && size.ws_row > 0)
            .map_or(Self::USUAL, |size| Self { cols: size.ws_col, rows: size.ws_row })
    }
}

/// Opens the file behind a descriptor once more, so that making it non-blocking changes it for nobody else.
///
/// # Errors
/// It has no name to be opened by, as a socket has none.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
