//! The program at the far end of a measured session.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Subcommand;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// What it writes once the terminal is raw.
pub const READY: &[u8] = b"FAR-READY";
/// What it writes after the last byte of a bulk transfer.
pub const END: &[u8] = b"FAR-END";

/// How much is written at once: what a program that prints a lot hands to its terminal.
const BLOCK: usize = 64 * 1024;
/// How long the ready line has for itself, so that it is not counted with what follows it.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Subcommand)]
pub enum Part {
    /// Writes back what it reads.
    Echo,
    /// Writes so many bytes of lines, then its end mark, then waits to be ended.
    Emit {
        /// How many bytes.
        bytes: usize,
    },
    /// Writes lines until it is ended.
    Flood,
}

/// Sets the terminal raw, says so, and plays the part.
pub fn run(part: Part) -> Result<()> {
    let terminal = std::io::stdin();
    let mut modes = tcgetattr(&terminal)?;
    modes.make_raw();
    tcsetattr(&terminal, OptionalActions::Drain, &modes)?;
    let mut out = std::io::stdout().lock();
    out.write_all(READY)?;
    out.write_all(b"\r\n")?;
    out.flush()?;
    match part {
        Part::Echo => echo(&mut out),
        Part::Emit { bytes } => emit(bytes, &mut out),
        Part::Flood => flood(&mut out),
    }
}

fn echo(out: &mut impl Write) -> Result<()> {
    let mut keys = [0; 4096];
    loop {
        let count = std::io::stdin().read(&mut keys)?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(&keys[..count])?;
        out.flush()?;
    }
}

fn emit(bytes: usize, out: &mut impl Write) -> Result<()> {
    wait(PAUSE)?;
    let block = block();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len());
        out.write_all(&block[..now])?;
        left -= now;
    }
    out.write_all(b"\r\n")?;
    out.write_all(END)?;
    out.flush()?;
    // The reader ends the session; leaving first could cut what it has not read.
    std::io::stdin().read_exact(&mut [0])?;
    Ok(())
}

fn flood(out: &mut impl Write) -> Result<()> {
    wait(PAUSE)?;
    let block = block();
    let end = Instant::now() + Duration::from_secs(600);
    while Instant::now() < end {
        out.write_all(&block)?;
    }
    Ok(())
}

/// Waits, or until a key is typed.
fn wait(time: Duration) -> Result<()> {
    let stdin = std::io::stdin();
    poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&Timespec::try_from(time)?))?;
    Ok(())
}

/// Lines of 78 letters that do not repeat within the block, so that compression gains no more than from ordinary text.
fn block() -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK + 80);
    let mut state = 0x9e37_79b9_u32;
    while block.len() < BLOCK {
        for _ in 0..78 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            block.push(b'a' + (state >> 24) as u8 % 26);
        }
        block.extend_from_slice(b"\r\n");
    }
    block.truncate(BLOCK);
    block
}
