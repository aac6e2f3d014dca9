//! The child that becomes the job's program: the last layers, then the program.

use std::ffi::CString;
use std::path::Path;

use adit_wire::sandbox::{Layer, Plan, Refusal};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::limits::{self, Grouped};
use crate::refuse::{Holding, program_unavailable, unavailable};
use crate::root::Root;
use crate::seccomp::{self, Sockets};
use crate::word::{Word, Words};
use crate::{confine, kernel};

/// Becomes the program; comes back only with the reason why not.
pub(crate) fn become_job(
    plan: &Plan,
    grouped: Grouped,
    root: &Root,
    holding: Holding,
    words: &Words,
) -> Refusal {
    match prepare(plan, grouped, root, holding, words) {
        Ok(programs) => execute(plan, root, &programs),
        Err(refusal) => refusal,
    }
}

/// Raises what holds the job alone. What is used afterwards was made before: the filter allows no more than the job may.
fn prepare(
    plan: &Plan,
    grouped: Grouped,
    root: &Root,
    mut holding: Holding,
    words: &Words,
) -> Result<Vec<CString>, Refusal> {
    let programs = programs(plan)?;
    let process = |error: Errno| unavailable(Layer::ProcessLimits, &error);
    rustix::process::setsid().map_err(process)?;
    rustix::process::umask(UMASK);
    rustix::process::chdir(root.home).map_err(process)?;
    kernel::close_the_rest_at_exec().map_err(|error| unavailable(Layer::ProcessLimits, &error))?;
    kernel::reset_signals();
    confine::confine(plan, root, &mut holding)?;
    limits::set(&plan.limits, grouped).map_err(process)?;
    holding.enforced(Layer::ProcessLimits);
    let filter = seccomp::compile(sockets(plan, root, &holding))?;
    holding.enforced(Layer::Seccomp);
    words.say(&Word::Held(holding.into_states()));
    seccomp::install(&filter)?;
    Ok(programs)
}

/// Which sockets there may be. Local ones reach out of the sandbox by a socket in a folder that is not a usual one, and by abstract names where
/// the job is in the machine's network namespace and Landlock does not hold them.
fn sockets(plan: &Plan, root: &Root, holding: &Holding) -> Sockets {
    let has_abstract_names = plan.allow_network && !holding.holds(Layer::LandlockScope);
    Sockets { network: plan.allow_network, local: !root.has_unusual_folder && !has_abstract_names }
}

/// Where the program may be: at its path, or in the fixed folders, in their order.
fn programs(plan: &Plan) -> Result<Vec<CString>, Refusal> {
    let (program, _) = plan.argv.split();
    if program.starts_with('/') {
        if is_the_sandbox_itself(program) {
            return Err(program_unavailable(&"a process is no program"));
        }
        return Ok(vec![string(program)]);
    }
    if program.contains('/') {
        return Err(program_unavailable(&"a program is named by its whole path or by its name"));
    }
    Ok(PATH.split(':').map(|folder| string(&format!("{folder}/{program}"))).collect())
}

/// `/proc/self/exe` and its like would lead out of the root, to this very program.
fn is_the_sandbox_itself(program: &str) -> bool {
    Path::new(program).starts_with("/proc")
        || Path::new(program).components().any(|part| part.as_os_str() == "..")
}

fn execute(plan: &Plan, root: &Root, programs: &[CString]) -> Refusal {
    let (name, argv) = plan.argv.split();
    let argv: Vec<CString> = argv.iter().map(|argument| string(argument)).collect();
    let environment = environment(plan, root.home);
    let mut why = std::io::Error::from(Errno::NOENT);
    for program in programs {
        let error = kernel::execute(program, &argv, &environment);
        // The first that is there and cannot be executed says more than the last that is not there.
        if error.kind() != std::io::ErrorKind::NotFound {
            why = error;
            break;
        }
    }
    program_unavailable(&format_args!("{name}: {why}"))
}

/// The fixed variables, and the plan's.
fn environment(plan: &Plan, home: &str) -> Vec<CString> {
    let fixed = [("HOME", home), ("LANG", "C.UTF-8"), ("PATH", PATH), ("TMPDIR", home)];
    let fixed = fixed
        .into_iter()
        .filter(|(name, _)| plan.environment.iter().all(|(other, _)| other != *name));
    fixed
        .chain(plan.environment.iter())
        .map(|(name, value)| string(&format!("{name}={value}")))
        .collect()
}

fn string(text: &str) -> CString {
    CString::new(text).expect("the plan's types hold no NUL")
}

const UMASK: Mode = Mode::from_raw_mode(0o022);

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
