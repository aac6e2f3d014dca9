//! Tells what this machine can enforce, by trying it in a process of its own.

use std::io::{self, BufReader, Write as _};
use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use adit_wire::sandbox::{
    CgroupKind, Environment, JobName, Layer, LayerState, Limits, MAX_REPORT_BYTES, Plan, Refusal,
    Report, State, read_report, write_report,
};
use nix::libc;

use crate::SUBCOMMAND;
use crate::channel::Agent;
use crate::kernel::{self, Side};
use crate::refuse::Holding;

/// Why nothing is known.
#[derive(Debug)]
pub struct ProbeError(io::Error);

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the sandbox could not be tried: {}", self.0)
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Each layer and whether a job would have it here, and which control groups.
///
/// Starts `program`, a binary whose `main` calls [`crate::main`]: the caller may have threads, and those who try must not.
///
/// # Errors
/// When the program cannot be started or does not answer.
pub fn probe(program: &Path) -> Result<(Vec<LayerState>, CgroupKind), ProbeError> {
    let mut command = Command::new(program);
    command.args([SUBCOMMAND, ARGUMENT]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().map_err(ProbeError)?;
    match read_report(&mut &output.stdout[..]).map_err(ProbeError)? {
        Some(Report::Layers { layers, cgroup }) => Ok((layers, cgroup)),
        _ => Err(ProbeError(io::ErrorKind::InvalidData.into())),
    }
}

/// Tries everything, and writes the layers to standard output.
pub(crate) fn serve() -> io::Result<()> {
    kernel::reset_signals();
    let output = kernel::inherited(1)?;
    let (layers, cgroup) = try_all()?;
    let mut line = Vec::with_capacity(MAX_REPORT_BYTES);
    write_report(&Report::Layers { layers, cgroup }, &mut line)?;
    std::fs::File::from(output).write_all(&line)
}

/// Runs a job that does nothing. Where it is refused, what refused it and each namespace are known one by one.
fn try_all() -> io::Result<(Vec<LayerState>, CgroupKind)> {
    match run_nothing()? {
        Tried::Held(layers, cgroup) => Ok((in_order(layers), cgroup)),
        Tried::Refused(refusal) => Ok((one_by_one(&refusal), CgroupKind::LimitsOnly)),
    }
}

enum Tried {
    Held(Vec<LayerState>, CgroupKind),
    Refused(Refusal),
}

fn run_nothing() -> io::Result<Tried> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut agent = Agent::new(theirs.try_clone()?.into(), theirs.into());
    crate::job::run(&nothing()?, &mut agent)?;
    drop(agent);
    let mut reports = BufReader::new(ours);
    match read_report(&mut reports)? {
        Some(Report::Layers { layers, cgroup }) => Ok(Tried::Held(layers, cgroup)),
        Some(Report::Refused(refusal)) => Ok(Tried::Refused(refusal)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Tries each namespace alone. What comes after the refusal was not reached, and is said to be missing for its sake.
fn one_by_one(refusal: &Refusal) -> Vec<LayerState> {
    let mut holding = Holding::new(&[]);
    for (layer, flag) in NAMESPACES {
        let reason = |error: io::Error| error.to_string();
        let tried = try_namespace(*flag).map_err(reason);
        if tried.is_ok() {
            holding.enforced(*layer);
        } else if let Err(refused) = holding.tried(*layer, tried) {
            holding.noted(*layer, &refused.reason);
        }
    }
    let mut states = holding.into_states();
    for layer in Layer::ALL {
        if states.iter().all(|known| known.layer != layer) {
            let reason = if refusal.layer == Some(layer) {
                refusal.reason.clone()
            } else {
                "not reached: a layer before it is missing".to_owned()
            };
            states.push(LayerState { layer, state: State::Missing { reason } });
        }
    }
    in_order(states)
}

/// Makes one namespace, in a user namespace of its own, in a child.
fn try_namespace(flag: libc::c_int) -> io::Result<()> {
    match kernel::fork_into(libc::CLONE_NEWUSER | flag, None)? {
        Side::Child => kernel::exit_now(0),
        Side::Parent(pid) => {
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
            Ok(())
        }
    }
}

fn in_order(mut states: Vec<LayerState>) -> Vec<LayerState> {
    states.sort_by_key(|state| state.layer);
    states
}

/// A job that does nothing and demands nothing.
fn nothing() -> io::Result<Plan> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
    Ok(Plan {
        job: JobName::try_from("probe".to_owned()).map_err(invalid)?,
        argv: vec!["true".to_owned()].try_into().map_err(invalid)?,
        environment: Environment::default(),
        account: None,
        system: None,
        host_processes: false,
        hidden: Vec::new(),
        paths: Vec::new(),
        allow_network: false,
        allow_file_write: false,
        limits: LIMITS,
        demanded: Vec::new(),
    })
}

/// The argument after the subcommand.
pub(crate) const ARGUMENT: &str = "--probe";

const NAMESPACES: &[(Layer, libc::c_int)] = &[
    (Layer::UserNamespace, 0),
    (Layer::MountNamespace, libc::CLONE_NEWNS),
    (Layer::PidNamespace, libc::CLONE_NEWPID),
    (Layer::NetNamespace, libc::CLONE_NEWNET),
    (Layer::IpcNamespace, libc::CLONE_NEWIPC),
    (Layer::UtsNamespace, libc::CLONE_NEWUTS),
    (Layer::CgroupNamespace, libc::CLONE_NEWCGROUP),
];

const fn count(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("no limit here is zero")
}

/// More than `true` needs.
const LIMITS: Limits = Limits {
    timeout_ms: count(10_000),
    grace_ms: 0,
    memory_bytes: count(64 * 1024 * 1024),
    pids: NonZeroU32::new(16).expect("sixteen is not zero"),
    cpu_millicores: NonZeroU32::new(1000).expect("a thousand is not zero"),
    cpu_seconds: count(10),
    open_files: count(64),
    file_bytes: count(1024 * 1024),
    scratch_bytes: count(1024 * 1024),
    scratch_files: count(64),
};
