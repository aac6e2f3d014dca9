//! From a planned template to what a machine's sandbox is given.

use std::num::{NonZeroU32, NonZeroU64};

use adit_domain::template::{AbsolutePath as Path, Layer as Word, Planned, Template};
use adit_domain::{Code, JobId};
use adit_wire::sandbox::{
    AbsolutePath, Argv, Environment, JobName, Layer, Limits, PathParameter, Plan, SYSTEM_PATHS,
};

use crate::access::Refusal;

/// Processes and threads of a job at a time: more than the tools of a system start, far fewer than a machine has.
const PIDS: u32 = 128;

/// Open files of one process of a job.
const OPEN_FILES: u64 = 256;

/// The largest file that a job may write.
const FILE_BYTES: u64 = 256 << 20;

/// Files in a job's `/tmp`.
const SCRATCH_FILES: u64 = 10_000;

/// How long a job has between the request to end and its end; with it a cancelled job is gone within the second.
const GRACE_MS: u64 = 500;

/// Writes the plan, JSON.
///
/// # Errors
/// [`Code::JobParameters`] for arguments that no machine takes.
pub(super) fn of(
    id: JobId,
    template: &Template,
    planned: &Planned,
    timeout_s: u32,
) -> Result<String, Refusal> {
    let limits = template.limits();
    let at_least = |number: u64| NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN);
    let few = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let timeout_s = u64::from(timeout_s);
    let plan = Plan {
        job: JobName::try_from(id.to_string()).map_err(|_| Refusal::Code(Code::Internal))?,
        argv: Argv::try_from(planned.argv.clone()).map_err(bad)?,
        environment: Environment::default(),
        account: None,
        system: system(template)?,
        host_processes: template.sees_processes(),
        hidden: Vec::new(),
        paths: paths(planned)?,
        allow_network: limits.allow_network,
        allow_file_write: limits.allow_file_write,
        limits: Limits {
            timeout_ms: at_least(timeout_s * 1000),
            grace_ms: GRACE_MS,
            memory_bytes: at_least(limits.memory_bytes),
            pids: few(PIDS),
            cpu_millicores: few(limits.cpu_millis),
            cpu_seconds: at_least(timeout_s),
            open_files: at_least(OPEN_FILES),
            file_bytes: at_least(FILE_BYTES),
            scratch_bytes: at_least(limits.memory_bytes / 2),
            scratch_files: at_least(SCRATCH_FILES),
        },
        demanded: template.layers().iter().flat_map(|word| layers(*word)).copied().collect(),
    };
    serde_json::to_string(&plan).map_err(|_| Refusal::Code(Code::Internal))
}

/// What all jobs see and what this template shows besides, each once; none where that is no more than all see.
fn system(template: &Template) -> Result<Option<Vec<AbsolutePath>>, Refusal> {
    if template.reads().is_empty() {
        return Ok(None);
    }
    let shown = template.reads().iter().map(|seen| seen.path().as_str());
    let shown = shown.filter(|path| !SYSTEM_PATHS.contains(path));
    let all = SYSTEM_PATHS.iter().copied().chain(shown);
    let paths: Result<_, _> = all.map(|path| AbsolutePath::try_from(path.to_owned())).collect();
    paths.map(Some).map_err(bad)
}

fn paths(planned: &Planned) -> Result<Vec<PathParameter>, Refusal> {
    let path = |path: &Path| AbsolutePath::try_from(path.as_str().to_owned()).map_err(bad);
    let list = |paths: &[Path]| paths.iter().map(path).collect::<Result<Vec<_>, _>>();
    planned
        .paths
        .iter()
        .map(|one| {
            // A template that says nothing lets a path lead anywhere that the sandbox shows.
            let allowed = if one.rules.allowed.is_empty() {
                vec![AbsolutePath::try_from("/".to_owned()).map_err(bad)?]
            } else {
                list(&one.rules.allowed)?
            };
            Ok(PathParameter {
                name: one.parameter.to_string(),
                value: path(&one.path)?,
                allowed,
                forbidden: list(&one.rules.forbidden)?,
            })
        })
        .collect()
}

fn bad(error: adit_wire::sandbox::BadName) -> Refusal {
    let text = error.to_string();
    Refusal::Said(Code::JobParameters, format!("No machine takes this: {text}."))
}

/// Gives the layers that a template's word stands for.
const fn layers(word: Word) -> &'static [Layer] {
    match word {
        Word::Namespaces => &[
            Layer::UserNamespace,
            Layer::MountNamespace,
            Layer::PidNamespace,
            Layer::NetNamespace,
            Layer::IpcNamespace,
            Layer::UtsNamespace,
        ],
        Word::Root => &[Layer::PrivateRoot, Layer::MaskedProc],
        Word::Seccomp => &[Layer::Seccomp],
        Word::Landlock => &[Layer::Landlock],
        Word::Rlimits => &[Layer::ProcessLimits],
        Word::Cgroup => &[Layer::MemoryGroup, Layer::PidsGroup, Layer::CpuGroup],
    }
}
