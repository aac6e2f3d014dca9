//! Very many sessions at once, each typed into ten times a second, whether or not its last key has come back.
//!
//! A key's time counts from when it was due, so that a stall is seen in all the keys that it delays.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::Options;
use crate::table::{Table, median, percentile};
use crate::target::{Shows, Target};
use crate::terminal::{Terminal, start_far};

/// Keys a second for each session: fast typing.
const KEYS_A_SECOND: u32 = 10;
/// How long is typed.
const TIME: Duration = Duration::from_secs(10);
/// How long the last keys have to come back.
const LAST: Duration = Duration::from_secs(2);
/// Sessions served between two looks at the clock.
const EVENTS: usize = 256;

/// Measures the targets that need no process for each session.
pub fn measure(targets: &[Target], options: &Options, table: &mut Table) -> Result<()> {
    let (mut middle, mut slow) = (Vec::new(), Vec::new());
    for target in targets {
        let mut times = Vec::new();
        if target.client == Shows::Nothing {
            eprintln!("many: {} sessions, {}", options.sessions, target.name);
            times = Sessions::open(target, options.sessions)?.type_into_all()?;
        }
        middle.push(median(&times));
        slow.push(percentile(&times, 0.99));
    }
    table.row(format!("{} sessions at 10 keys/s, p50, ms", options.sessions), middle);
    table.row(format!("{} sessions at 10 keys/s, p99, ms", options.sessions), slow);
    Ok(())
}

struct Sessions {
    list: Vec<Session>,
    ready: OwnedFd,
    shown: Vec<u8>,
    times: Vec<f64>,
}

struct Session {
    terminal: Box<dyn Terminal>,
    /// Keys that were typed and not shown yet, with the time at which each was due.
    typed: VecDeque<(u8, Instant)>,
}

impl Sessions {
    fn open(target: &Target, count: usize) -> Result<Self> {
        let ready = epoll::create(CreateFlags::CLOEXEC)?;
        let list = Vec::with_capacity(count);
        let mut sessions = Self { list, ready, shown: Vec::new(), times: Vec::new() };
        for number in 0..count {
            let mut terminal = target.open().with_context(|| format!("session {number}"))?;
            start_far(terminal.as_mut(), "echo")?;
            let data = EventData::new_u64(number as u64);
            epoll::add(&sessions.ready, terminal.fd(), data, EventFlags::IN)?;
            sessions.list.push(Session { terminal, typed: VecDeque::new() });
            // Those that are open answer what the server asks meanwhile.
            sessions.show(Instant::now())?;
        }
        Ok(sessions)
    }

    /// Types evenly over all sessions; answers the milliseconds of each key.
    fn type_into_all(mut self) -> Result<Vec<f64>> {
        let sessions = self.list.len();
        let step = Duration::from_secs(1) / KEYS_A_SECOND / sessions as u32;
        let keys = (TIME.as_secs_f64() / step.as_secs_f64()) as usize;
        let start = Instant::now();
        let due = |number: usize| start + step.mul_f64(number as f64);
        let mut next = 0;
        while next < keys {
            while next < keys && due(next) <= Instant::now() {
                self.list[next % sessions]
                    .type_key(b'a' + (next / sessions % 26) as u8, due(next))?;
                next += 1;
            }
            self.show(due(next))?;
        }
        let end = Instant::now() + LAST;
        while Instant::now() < end && self.list.iter().any(|session| !session.typed.is_empty()) {
            self.show(end)?;
        }
        // A key that did not come back took at least until now.
        let lost = self.list.iter().flat_map(|session| &session.typed);
        self.times.extend(lost.map(|(_, due)| due.elapsed().as_secs_f64() * 1e3));
        Ok(self.times)
    }

    /// Reads what has come, or waits for it until a deadline.
    fn show(&mut self, deadline: Instant) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
        epoll::wait(&self.ready, rustix::buffer::spare_capacity(&mut events), Some(&left))?;
        for event in events {
            let session = &mut self.list[event.data.u64() as usize];
            self.shown.clear();
            session.terminal.take(&mut self.shown)?;
            let now = Instant::now();
            for byte in &self.shown {
                if let Some((_, due)) = session.typed.pop_front_if(|(key, _)| key == byte) {
                    self.times.push((now - due).as_secs_f64() * 1e3);
                }
            }
        }
        Ok(())
    }
}

impl Session {
    fn type_key(&mut self, key: u8, due: Instant) -> Result<()> {
        self.typed.push_back((key, due));
        self.terminal.send(&[key])
    }
}
