//! Watches over one job until it ended or has to.

use std::time::{Duration, Instant};

use adit_wire::sandbox::{End, LayerState, Plan, Refusal, Report, Resource, Usage};
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::start::Started;
use crate::cgroup::{Controller, Groups};
use crate::channel::Agent;
use crate::refuse::Holding;
use crate::usage;
use crate::word::{Status, Word};

/// How it went, as far as is known before everything is dead.
#[derive(Debug)]
pub(crate) enum Outcome {
    Refused(Refusal),
    Ended(End),
}

/// One job under watch.
pub(crate) struct Watch<'a> {
    plan: &'a Plan,
    groups: &'a Groups,
    started: &'a mut Started,
    agent: &'a mut Agent,
    layers: Vec<LayerState>,
    phase: Phase,
    deadline: Instant,
    next_look: Instant,
    looks: u32,
}

/// Whether it was told to end.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    /// It was asked to end for this reason, and is killed at that time.
    Ending {
        reason: End,
        kill_at: Instant,
    },
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        groups: &'a Groups,
        started: &'a mut Started,
        holding: Holding,
        agent: &'a mut Agent,
        from: Instant,
    ) -> Self {
        let timeout = Duration::from_millis(plan.limits.timeout_ms.get());
        let deadline = from.checked_add(timeout).unwrap_or(from + FAR);
        let layers = holding.into_states();
        Self {
            plan,
            groups,
            started,
            agent,
            layers,
            phase: Phase::Running,
            deadline,
            next_look: from + LOOK,
            looks: 0,
        }
    }

    /// Waits for the end, and sees to it that it comes.
    pub(crate) fn until_end(mut self) -> Outcome {
        loop {
            let (words, control) = self.wait();
            if words && let Some(outcome) = self.hear() {
                return outcome;
            }
            let now = Instant::now();
            if control && self.is_running() {
                self.ask_to_end(End::Cancelled, now);
            }
            if let Some(outcome) = self.keep_time(now) {
                return outcome;
            }
        }
    }

    /// Waits for a word from inside, from the agent, or for the next time that matters.
    fn wait(&self) -> (bool, bool) {
        let mut fds = [
            PollFd::from_borrowed_fd(self.started.words.pipe(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.agent.control(), PollFlags::IN),
        ];
        let until = self.next_time().saturating_duration_since(Instant::now());
        let until = Timespec::try_from(until).ok();
        // Once it is ending nothing that the agent says matters.
        let watched = if self.is_running() { 2 } else { 1 };
        match fds.get_mut(..watched).map(|fds| poll(fds, until.as_ref())) {
            Some(Ok(_)) => {}
            _ => return (false, false),
        }
        let [words, control] = fds;
        (!words.revents().is_empty(), !control.revents().is_empty())
    }

    fn next_time(&self) -> Instant {
        match self.phase {
            Phase::Running => self.deadline.min(self.next_look),
            Phase::Ending { kill_at, .. } => kill_at,
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Takes what the inside says; its silence for good is its death.
    fn hear(&mut self) -> Option<Outcome> {
        let lives = self.started.words.take_in();
        while let Some(word) = self.started.words.next() {
            let outcome = match word {
                Ok(word) => self.heed(word),
                Err(_) => Some(Outcome::Ended(End::Lost)),
            };
            if outcome.is_some() {
                return outcome;
            }
        }
        (!lives).then(|| Outcome::Ended(self.reason().unwrap_or(End::Lost)))
    }

    fn heed(&mut self, word: Word) -> Option<Outcome> {
        match word {
            Word::Refused(refusal) => Some(Outcome::Refused(refusal)),
            Word::Held(states) => {
                self.layers.extend(states);
                None
            }
            Word::Started => self.tell_start(),
            Word::Ended { status, scratch } => Some(Outcome::Ended(self.ended(status, scratch))),
        }
    }

    /// The layers are told when nothing can refuse the job any more.
    fn tell_start(&mut self) -> Option<Outcome> {
        let mut layers = std::mem::take(&mut self.layers);
        layers.sort_by_key(|state| state.layer);
        let layers = Report::Layers { layers, cgroup: self.groups.kind() };
        let told = self.agent.report(&layers).and_then(|()| self.agent.report(&Report::Started));
        told.err().map(|_| Outcome::Ended(End::Cancelled))
    }

    /// Ends it when its time is over, kills it when its grace is, and looks at what it uses.
    fn keep_time(&mut self, now: Instant) -> Option<Outcome> {
        match self.phase {
            Phase::Ending { reason, kill_at } if now >= kill_at => Some(Outcome::Ended(reason)),
            Phase::Ending { .. } => None,
            Phase::Running if now >= self.deadline => {
                self.ask_to_end(End::TimedOut, now);
                None
            }
            Phase::Running if now >= self.next_look => self.look(now),
            Phase::Running => None,
        }
    }

    /// Looks at what it uses; tells it each time that a second is full.
    fn look(&mut self, now: Instant) -> Option<Outcome> {
        self.next_look = now + LOOK;
        self.looks = self.looks.wrapping_add(1);
        let usage = usage::read(self.groups, self.started.pid);
        if let Some(resource) = self.exceeded(&usage) {
            return Some(Outcome::Ended(End::ResourceExceeded { resource }));
        }
        if self.looks.is_multiple_of(LOOKS_A_REPORT)
            && self.agent.report_if_ready(&Report::Usage(usage)).is_err()
        {
            return Some(Outcome::Ended(End::Cancelled));
        }
        None
    }

    fn exceeded(&self, usage: &Usage) -> Option<Resource> {
        let limits = &self.plan.limits;
        let memory = !self.groups.limits(Controller::Memory)
            && usage.memory_bytes > limits.memory_bytes.get();
        let cpu = usage.cpu_ms / 1000 >= limits.cpu_seconds.get();
        // Nothing counts refused forks then. The first process is not the job's.
        let pids = !self.groups.limits(Controller::Pids)
            && usage.pids.saturating_sub(1) > u64::from(limits.pids.get());
        let noticed = [(memory, Resource::Memory), (pids, Resource::Pids), (cpu, Resource::Cpu)];
        let noticed =
            noticed.into_iter().find_map(|(noticed, resource)| noticed.then_some(resource));
        self.groups.exceeded().or(noticed)
    }

    fn ask_to_end(&mut self, reason: End, now: Instant) {
        let grace = Duration::from_millis(self.plan.limits.grace_ms).min(GRACE_MAX);
        self.phase = Phase::Ending { reason, kill_at: now + grace };
        let _ = pidfd_send_signal(&self.started.handle, Signal::TERM);
    }

    fn reason(&self) -> Option<End> {
        match self.phase {
            Phase::Running => None,
            Phase::Ending { reason, .. } => Some(reason),
        }
    }

    fn ended(&self, status: Status, scratch: Option<Resource>) -> End {
        let failed = status != Status::Exited(0);
        let by_itself = match status {
            Status::Signalled(libc::SIGXCPU) => exceeded(Resource::Cpu),
            Status::Signalled(libc::SIGXFSZ) => exceeded(Resource::FileSize),
            _ if failed && let Some(resource) = scratch => exceeded(resource),
            Status::Exited(code) => End::Exited { code },
            Status::Signalled(signal) => End::Signalled { signal },
        };
        self.reason().unwrap_or(by_itself)
    }
}

/// Looks at a failed end once more, now that everything is counted.
pub(crate) fn why(end: End, groups: &Groups, plan: &Plan, cpu_seconds: u64) -> End {
    match end {
        End::Exited { code: 0 } | End::TimedOut | End::Cancelled | End::ResourceExceeded { .. } => {
            end
        }
        End::Exited { .. } | End::Signalled { .. } | End::Lost => match groups.exceeded() {
            Some(resource) => exceeded(resource),
            None if cpu_seconds >= plan.limits.cpu_seconds.get() => exceeded(Resource::Cpu),
            None => end,
        },
    }
}

fn exceeded(resource: Resource) -> End {
    End::ResourceExceeded { resource }
}

/// How often use is looked at: what a control group does not stop by itself runs over for so long at most.
const LOOK: Duration = Duration::from_millis(250);

/// About one report of use a second.
const LOOKS_A_REPORT: u32 = 4;

/// No job is asked for longer than this before it is killed.
const GRACE_MAX: Duration = Duration::from_secs(60);

/// A deadline that the clock cannot hold.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
