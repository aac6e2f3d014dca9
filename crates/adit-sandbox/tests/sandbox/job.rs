//! A job under test: its plan, its start, what it printed and what was reported.

use std::io::{self, BufReader, Read as _};
use std::net::Shutdown;
use std::num::{NonZeroU32, NonZeroU64};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use adit_wire::sandbox::{
    AbsolutePath, CgroupKind, End, Environment, JobName, Layer, LayerState, Limits, PathParameter,
    Plan, Refusal, Report, SUBCOMMAND, SYSTEM_PATHS, State, read_report, write_plan,
};
use tempfile::TempDir;

/// Who starts the sandbox. The tests run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Root,
    /// An ordinary account without control groups of its own.
    User,
}

pub const BOTH: [By; 2] = [By::Root, By::User];

/// The account of [`By::User`]; nobody else's on any machine.
pub const USER: u32 = 43_210;

/// Both programs in a folder that every account can reach, and room beside them.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("adit-sandbox-").tempdir_in("/var/tmp").unwrap();
        let bench = Self { folder };
        open_to_all(bench.folder.path());
        for (name, from) in [
            ("sandbox", env!("CARGO_BIN_EXE_adit-sandbox")),
            ("attempt", env!("CARGO_BIN_EXE_adit-sandbox-attempt")),
        ] {
            let to = bench.path(name);
            std::fs::hard_link(from, &to).or_else(|_| std::fs::copy(from, &to).map(drop)).unwrap();
            open_to_all(&to);
        }
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder in which everybody may write.
    pub fn make_folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// A plan that runs the program of attempts.
    pub fn attempt(&self, words: &[&str]) -> Plan {
        let attempt = self.path("attempt").to_str().unwrap().to_owned();
        let mut plan = plan(&[&[attempt.as_str()], words].concat());
        plan.system.as_mut().unwrap().push(path(&attempt));
        plan
    }

    /// Runs an attempt outside of any sandbox, as an ordinary account.
    pub fn attempt_outside(&self, words: &[&str]) -> String {
        let mut command = Command::new(self.path("attempt"));
        let output = command.args(words).uid(USER).gid(USER).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn start(&self, plan: &Plan, by: By) -> Job {
        self.start_below(&[], plan, by)
    }

    /// Runs a job on a kernel that has no Landlock: what holds it then holds it alone.
    pub fn run_without_landlock(&self, plan: &Plan, by: By) -> Done {
        let attempt = self.path("attempt");
        let wrapper = [attempt.to_str().unwrap(), "without", "landlock", "38"];
        self.start_below(&wrapper, plan, by).end()
    }

    /// Starts the sandbox by another program, which executes it.
    pub fn start_below(&self, wrapper: &[&str], plan: &Plan, by: By) -> Job {
        let (output, theirs) = io::pipe().unwrap();
        let mut job = self.start_with(wrapper, plan, by, theirs.into());
        job.output = Some(output);
        job
    }

    /// Starts the sandbox with this as the job's output.
    pub fn start_with(&self, wrapper: &[&str], plan: &Plan, by: By, output: OwnedFd) -> Job {
        let sandbox = self.path("sandbox");
        let words: Vec<&str> =
            wrapper.iter().copied().chain([sandbox.to_str().unwrap(), SUBCOMMAND]).collect();
        let (mut agent, theirs) = UnixStream::pair().unwrap();
        agent.set_read_timeout(Some(PATIENCE)).unwrap();
        let (program, arguments) = words.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdin(OwnedFd::from(theirs));
        command.stdout(output.try_clone().unwrap()).stderr(output);
        // What the agent has must not be seen by the job.
        command.env("AGENT_SECRET", "hidden");
        if by == By::User {
            command.uid(USER).gid(USER);
        }
        let child = command.spawn().unwrap();
        drop(command);
        write_plan(plan, &mut agent).unwrap();
        let reports = BufReader::new(agent.try_clone().unwrap());
        Job { child, agent: Some(agent), reports, output: None, seen: Vec::new() }
    }

    pub fn run(&self, plan: &Plan, by: By) -> Done {
        self.start(plan, by).end()
    }
}

/// A sandbox that runs.
pub struct Job {
    child: Child,
    agent: Option<UnixStream>,
    reports: BufReader<UnixStream>,
    output: Option<io::PipeReader>,
    seen: Vec<Report>,
}

impl Job {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the job's program printed this; the job goes on.
    pub fn wait_for_output(&mut self, wanted: &str) -> String {
        let output = self.output.as_mut().unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let mut bytes = [0; 4096];
            match output.read(&mut bytes).unwrap() {
                0 => panic!("ended without {wanted:?}: {:?}", String::from_utf8_lossy(&seen)),
                count => seen.extend(&bytes[..count]),
            }
        }
        String::from_utf8(seen).unwrap()
    }

    pub fn wait_for_report(&mut self, wanted: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report =
                read_report(&mut self.reports).unwrap().expect("the report comes before the end");
            self.seen.push(report.clone());
            if wanted(&report) {
                return report;
            }
        }
    }

    pub fn cancel(&mut self) {
        use std::io::Write as _;
        self.agent.as_mut().unwrap().write_all(b"cancel\n").unwrap();
    }

    /// Goes away as an agent does that is killed: the kernel closes its end.
    pub fn die_as_agent(&mut self) {
        self.agent.take().unwrap().shutdown(Shutdown::Both).unwrap();
    }

    /// Kills the sandbox itself.
    pub fn kill_sandbox(&mut self) {
        self.child.kill().unwrap();
    }

    /// Reads on until nobody holds the job's output any more: until all that it started is dead.
    pub fn wait_until_all_is_dead(&mut self) -> String {
        let mut rest = String::new();
        self.output.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        rest
    }

    pub fn end(mut self) -> Done {
        let mut bytes = Vec::new();
        if let Some(mut output) = self.output.take() {
            output.read_to_end(&mut bytes).unwrap();
        }
        while let Some(report) = read_report(&mut self.reports).unwrap() {
            self.seen.push(report);
        }
        self.child.wait().unwrap();
        Done {
            output: String::from_utf8_lossy(&bytes).into_owned(),
            reports: std::mem::take(&mut self.seen),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A job that ended.
#[derive(Debug)]
pub struct Done {
    pub output: String,
    pub reports: Vec<Report>,
}

impl Done {
    /// What an attempt answered.
    pub fn answer(&self, name: &str) -> &str {
        let found = self.output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no answer to {name} in {self:?}"))
    }

    pub fn end(&self) -> End {
        match self.reports.last() {
            Some(Report::Ended { end, .. }) => *end,
            other => panic!("no end but {other:?}"),
        }
    }

    pub fn refusal(&self) -> &Refusal {
        match self.reports.as_slice() {
            [Report::Refused(refusal)] => refusal,
            other => panic!("no refusal but {other:?}"),
        }
    }

    pub fn layers(&self) -> (&[LayerState], CgroupKind) {
        let found = self.reports.iter().find_map(|report| match report {
            Report::Layers { layers, cgroup } => Some((layers.as_slice(), *cgroup)),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no layers in {self:?}"))
    }

    pub fn state(&self, layer: Layer) -> &State {
        let (layers, _) = self.layers();
        &layers.iter().find(|state| state.layer == layer).unwrap().state
    }
}

/// A plan with limits that are enough for every attempt that is not about them.
pub fn plan(argv: &[&str]) -> Plan {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    Plan {
        job: JobName::try_from(format!("test-{}", std::process::id())).unwrap(),
        argv: argv.try_into().unwrap(),
        environment: Environment::default(),
        account: None,
        system: Some(SYSTEM_PATHS.iter().map(|system| path(system)).collect()),
        host_processes: false,
        hidden: Vec::new(),
        paths: Vec::new(),
        allow_network: false,
        allow_file_write: false,
        limits: Limits {
            timeout_ms: NonZeroU64::new(30_000).unwrap(),
            grace_ms: 300,
            memory_bytes: NonZeroU64::new(256 * 1024 * 1024).unwrap(),
            pids: NonZeroU32::new(32).unwrap(),
            cpu_millicores: NonZeroU32::new(2000).unwrap(),
            cpu_seconds: NonZeroU64::new(20).unwrap(),
            open_files: NonZeroU64::new(128).unwrap(),
            file_bytes: NonZeroU64::new(8 * 1024 * 1024).unwrap(),
            scratch_bytes: NonZeroU64::new(16 * 1024 * 1024).unwrap(),
            scratch_files: NonZeroU64::new(256).unwrap(),
        },
        demanded: Vec::new(),
    }
}

/// Whether a layer holds here, or is a part of Landlock that is younger than this kernel: TCP came with Linux 6.7, scopes with 6.12.
pub fn holds_as_far_as_it_can(state: &LayerState) -> bool {
    let young = matches!(state.layer, Layer::LandlockNetwork | Layer::LandlockScope);
    match &state.state {
        State::Enforced => true,
        State::Missing { reason } => young && reason.contains("too old"),
        State::Waived => false,
    }
}

pub fn path(path: &str) -> AbsolutePath {
    AbsolutePath::try_from(path.to_owned()).unwrap()
}

/// A parameter whose value is below one allowed folder.
pub fn parameter(value: &Path, allowed: &Path) -> PathParameter {
    PathParameter {
        name: "path".to_owned(),
        value: path(value.to_str().unwrap()),
        allowed: vec![path(allowed.to_str().unwrap())],
        forbidden: Vec::new(),
    }
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Longer than any job of a test; one that takes it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
