//! The sandbox of one job, as a small program of its own: `adit __sandbox`, started by the agent.
//!
//! Everything that a job needs to be held is done by this process and its children, after everything that it may was read.
//! A layer that the plan demands and the kernel refuses ends it with a refusal; the job's program is then never executed.
//! Read first: `job.rs` (the way of a job), `init.rs`, `child.rs`, `root.rs`; what is said is in [`adit_wire::sandbox`].

mod capability;
mod cgroup;
mod channel;
mod child;
mod confine;
mod init;
mod job;
mod kernel;
mod limits;
mod mount;
mod probe;
mod refuse;
mod resolve;
mod root;
mod seccomp;
mod spawner;
mod usage;
mod word;

pub use adit_wire::sandbox::{SPAWNER_ARGUMENT, SUBCOMMAND};
pub use probe::{ProbeError, probe};

use std::io;
use std::os::fd::RawFd;
use std::process::ExitCode;

use adit_wire::sandbox::{Report, read_plan};

use channel::Agent;

/// Serves as the sandbox and ends the process when the binary was started as one; returns at once otherwise.
///
/// With `--spawner` it forks a sandbox for each message on its standard input, a socket: three descriptors, a job's channel, output and errors.
/// Calls with `--plan N`, `--control N` and `--report N`, descriptors that are open; each is 0, a socket for all three, without. A binary
/// calls it first thing in its `main`, before there are threads.
pub fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != SUBCOMMAND) {
        return;
    }
    let rest: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    let served = match rest.as_slice() {
        [alone] if alone == probe::ARGUMENT => probe::serve(),
        [alone] if alone == SPAWNER_ARGUMENT => spawner::serve(),
        descriptors => serve(descriptors),
    };
    std::process::exit(if served.is_ok() { 0 } else { 1 });
}

/// The same as [`main`], for a binary that is nothing else.
pub fn main_alone() -> ExitCode {
    main();
    ExitCode::from(2)
}

fn serve(arguments: &[String]) -> io::Result<()> {
    kernel::reset_signals();
    kernel::ignore_broken_pipes();
    let descriptors = Descriptors::parse(arguments)?;
    let plan = kernel::inherited(descriptors.plan)?;
    let mut agent =
        Agent::new(kernel::inherited(descriptors.control)?, kernel::inherited(descriptors.report)?);
    match read_plan(&mut std::fs::File::from(plan)) {
        Ok(plan) => job::run(&plan, &mut agent),
        Err(error) => agent.report(&Report::Refused(refuse::bad_plan(&error))),
    }
}

/// Which descriptor carries what.
#[derive(Debug, Default)]
struct Descriptors {
    plan: RawFd,
    control: RawFd,
    report: RawFd,
}

impl Descriptors {
    fn parse(arguments: &[String]) -> io::Result<Self> {
        let mut descriptors = Self::default();
        for pair in arguments.chunks(2) {
            let [name, number] = pair else { return Err(io::ErrorKind::InvalidInput.into()) };
            let number: u16 = number.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            match name.as_str() {
                "--plan" => descriptors.plan = number.into(),
                "--control" => descriptors.control = number.into(),
                "--report" => descriptors.report = number.into(),
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(descriptors)
    }
}
