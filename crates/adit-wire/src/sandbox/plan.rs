//! The plan: everything that a job is and may.

use std::io::{self, Read, Write};
use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

use super::{AbsolutePath, Argv, Environment, JobName, Layer};

/// The largest plan, in bytes: 1,024 arguments seldom have more than 100 bytes each, and some paths.
pub const MAX_PLAN_BYTES: usize = 256 * 1024;

/// What a job sees of the machine unless its plan says otherwise; what is not there is left out.
pub const SYSTEM_PATHS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/crypto-policies",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl",
];

/// One job, exactly as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Names the job's control group.
    pub job: JobName,
    /// What is executed: a path from the root, or a name that is looked up in the sandbox.
    pub argv: Argv,
    /// Variables beside the fixed ones.
    pub environment: Environment,
    /// Whom the job is, where the sandbox is started by root; nobody (65534) without. Never root.
    pub account: Option<Account>,
    /// What is seen of the machine, read-only; [`SYSTEM_PATHS`] without.
    pub system: Option<Vec<AbsolutePath>>,
    /// Whether the job sees the machine's processes instead of its own.
    pub host_processes: bool,
    /// What is never seen, whatever else is: the agent's own folder.
    pub hidden: Vec<AbsolutePath>,
    /// What the caller named.
    pub paths: Vec<PathParameter>,
    /// Whether the job shares the machine's network.
    pub allow_network: bool,
    /// Whether the job may write what its path parameters name.
    pub allow_file_write: bool,
    /// How much it may use.
    pub limits: Limits,
    /// The layers without which it does not run, beside those that are always demanded.
    pub demanded: Vec<Layer>,
}

/// An account of the machine that is not root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The user.
    pub uid: NonZeroU32,
    /// Its group.
    pub gid: NonZeroU32,
}

/// A path that a caller named, and what its template says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathParameter {
    /// The parameter's name, for refusals.
    pub name: String,
    /// Where the job finds it; what it leads to is checked when it was opened.
    pub value: AbsolutePath,
    /// What it may lead to, by path component; nothing when empty.
    pub allowed: Vec<AbsolutePath>,
    /// What it may not lead to and what is not seen below it.
    pub forbidden: Vec<AbsolutePath>,
}

/// How much a job may use. All of it is capped; there is no word for "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Time from start to end, in milliseconds.
    pub timeout_ms: NonZeroU64,
    /// Time between the request to end (SIGTERM) and the end, in milliseconds; 0 ends at once.
    pub grace_ms: u64,
    /// Memory of all its processes, in bytes; also that of `/tmp`, which is memory.
    pub memory_bytes: NonZeroU64,
    /// Processes and threads at a time.
    pub pids: NonZeroU32,
    /// Share of the CPU, in thousandths of a core.
    pub cpu_millicores: NonZeroU32,
    /// CPU time of all its processes, in seconds.
    pub cpu_seconds: NonZeroU64,
    /// Open files of a process.
    pub open_files: NonZeroU64,
    /// Size of a file that it writes, in bytes.
    pub file_bytes: NonZeroU64,
    /// Size of `/tmp` and of `/dev/shm`, in bytes, each.
    pub scratch_bytes: NonZeroU64,
    /// Files in `/tmp` and in `/dev/shm`, each.
    pub scratch_files: NonZeroU64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It did not come whole.
    #[error("the plan did not come whole: {0}")]
    Read(#[from] io::Error),
    /// It says that it is longer than [`MAX_PLAN_BYTES`].
    #[error("a plan of {0} bytes is too long")]
    TooLong(usize),
    /// It is no plan.
    #[error("not a plan: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads one plan, and not a byte more.
///
/// # Errors
/// By [`PlanError`]; the length is looked at before there is room for it.
pub fn read_plan(source: &mut impl Read) -> Result<Plan, PlanError> {
    let mut length = [0_u8; 4];
    source.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_PLAN_BYTES {
        return Err(PlanError::TooLong(length));
    }
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Writes one plan.
///
/// # Errors
/// By [`PlanError`]: one that is too long is not written.
pub fn write_plan(plan: &Plan, sink: &mut impl Write) -> Result<(), PlanError> {
    let body = serde_json::to_vec(plan)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_PLAN_BYTES);
    let length = length.ok_or(PlanError::TooLong(body.len()))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    Ok(sink.write_all(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"job":"j-1","argv":["ls","/x"],"environment":{"TERM":"dumb"},"account":{"uid":1,"gid":2},
        "system":["/usr"],"host_processes":false,"hidden":["/var/lib/adit"],"paths":[{"name":"p","value":"/x","allowed":["/x"],"forbidden":[]}],
        "allow_network":false,"allow_file_write":false,"demanded":["landlock"],
        "limits":{"timeout_ms":1,"grace_ms":0,"memory_bytes":1,"pids":1,"cpu_millicores":500,"cpu_seconds":1,"open_files":1,
        "file_bytes":1,"scratch_bytes":1,"scratch_files":1}}"#;

    fn framed(json: &str) -> Vec<u8> {
        let length = u32::try_from(json.len()).unwrap();
        [&length.to_be_bytes()[..], json.as_bytes()].concat()
    }

    fn refused(json: &str) -> bool {
        matches!(read_plan(&mut &framed(json)[..]), Err(PlanError::Malformed(_)))
    }

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        let plan = read_plan(&mut &framed(PLAN)[..]).unwrap();
        let mut bytes = Vec::new();
        write_plan(&plan, &mut bytes).unwrap();
        assert_eq!(read_plan(&mut &bytes[..]).unwrap(), plan);
    }

    #[test]
    fn a_plan_has_one_form_or_none() {
        assert!(refused(&PLAN.replacen("\"job\"", "\"extra\":1,\"job\"", 1)));
        assert!(refused(&PLAN.replacen("\"job\":\"j-1\",", "\"job\":\"j-1\",\"job\":\"j-2\",", 1)));
        assert!(refused(&PLAN.replacen("\"demanded\":[\"landlock\"],", "", 1)));
        assert!(refused(&PLAN.replacen("landlock", "prayer", 1)));
        assert!(refused(&format!("{PLAN} {{}}")));
    }

    #[test]
    fn a_job_is_never_root() {
        // JOB-21
        assert!(refused(&PLAN.replacen("\"uid\":1", "\"uid\":0", 1)));
        assert!(refused(&PLAN.replacen("\"gid\":2", "\"gid\":0", 1)));
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        for limit in ["memory_bytes", "pids", "cpu_seconds", "timeout_ms"] {
            let zero = PLAN.replacen(&format!("\"{limit}\":1"), &format!("\"{limit}\":0"), 1);
            assert!(refused(&zero), "{limit}");
        }
    }

    #[test]
    fn a_plan_that_is_too_long_is_refused_by_its_length() {
        let length = u32::try_from(MAX_PLAN_BYTES + 1).unwrap().to_be_bytes();
        assert!(matches!(read_plan(&mut &length[..]), Err(PlanError::TooLong(_))));
    }

    #[test]
    fn a_plan_that_was_cut_is_refused() {
        let whole = framed(PLAN);
        for end in 0..whole.len() {
            assert!(matches!(read_plan(&mut &whole[..end]), Err(PlanError::Read(_))), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = read_plan(&mut &bytes[..]);
        }

        #[test]
        fn a_plan_with_a_changed_byte_is_refused_or_a_plan(at in 0..PLAN.len(), byte in proptest::num::u8::ANY) {
            let mut bytes = framed(PLAN);
            bytes[4 + at] = byte;
            if let Ok(plan) = read_plan(&mut &bytes[..]) {
                let mut again = Vec::new();
                write_plan(&plan, &mut again).unwrap();
            }
        }
    }
}
