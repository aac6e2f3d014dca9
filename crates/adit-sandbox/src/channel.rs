//! The outside's connection to its agent: reports out, the request to cancel in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use adit_wire::sandbox::{Report, write_report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Both directions; they may be the same socket.
#[derive(Debug)]
pub(crate) struct Agent {
    control: OwnedFd,
    reports: std::fs::File,
}

impl Agent {
    pub(crate) fn new(control: OwnedFd, reports: OwnedFd) -> Self {
        Self { control, reports: std::fs::File::from(reports) }
    }

    /// Readable when the job is to end: the agent says `cancel`, says what nobody understands, or is dead.
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Takes in what the agent said: a socket that closes with something unread cuts off the other side.
    pub(crate) fn hear(&self) {
        for _ in 0..READS_MAX {
            let said = is_ready(&self.control, PollFlags::IN);
            if !said || !matches!(rustix::io::read(&self.control, &mut [0_u8; 256]), Ok(1..)) {
                return;
            }
        }
    }

    /// Tells the agent; an error is its death.
    pub(crate) fn report(&mut self, report: &Report) -> io::Result<()> {
        write_report(report, &mut self.reports)
    }

    /// Tells the agent unless it does not listen at the moment: the next such report says it better.
    pub(crate) fn report_if_ready(&mut self, report: &Report) -> io::Result<()> {
        if is_ready(&self.reports, PollFlags::OUT) { self.report(report) } else { Ok(()) }
    }
}

fn is_ready(fd: &impl AsFd, flags: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Who says more than this is not heard out.
const READS_MAX: usize = 16;
