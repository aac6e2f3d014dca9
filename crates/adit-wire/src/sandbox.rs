//! What the agent and the sandbox of one job say to each other.
//!
//! ```text
//! plan     agent → sandbox  [length: u32 BE][Plan: JSON], once, before anything is done
//! control  agent → sandbox  the line `cancel`; its end is the agent's death
//! reports  sandbox → agent  one Report a line, JSON; an end without `refused` or `ended` is a sandbox that was killed
//! ```
//!
//! JSON and not protobuf: who confines takes one form or none. A field that is not known, is there twice or is missing is an error.
//! Read first: [`Plan`], [`Report`], [`Layer`].

mod name;
mod plan;
mod report;

pub use name::{AbsolutePath, Argv, BadName, Environment, JobName};
pub use plan::{
    Account, Limits, MAX_PLAN_BYTES, PathParameter, Plan, PlanError, SYSTEM_PATHS, read_plan,
    write_plan,
};
pub use report::{
    CgroupKind, End, LayerState, MAX_REPORT_BYTES, Refusal, RefusalCode, Report, Resource, State,
    Totals, Usage, read_report, write_report,
};

use serde::{Deserialize, Serialize};

/// The hidden subcommand under which the binary is the sandbox.
pub const SUBCOMMAND: &str = "__sandbox";

/// After the subcommand: the process forks a sandbox for each message on its standard input.
pub const SPAWNER_ARGUMENT: &str = "--spawner";

/// The line of the control stream that ends the job and all that it started.
pub const CANCEL: &str = "cancel";

/// One thing that confines a job, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// No rights outside: its own user namespace, with one account that is not root.
    UserNamespace,
    /// Its own table of mounts.
    MountNamespace,
    /// Its own processes, which die with their first.
    PidNamespace,
    /// No network: a network namespace without an interface that is up.
    NetNamespace,
    /// Its own System V IPC and message queues.
    IpcNamespace,
    /// Its own host name.
    UtsNamespace,
    /// Its own view of the control groups.
    CgroupNamespace,
    /// A root of chosen, read-only paths with a private `/tmp`.
    PrivateRoot,
    /// A `/proc` of its own processes with the machine's parts masked; without it there is no `/proc`.
    MaskedProc,
    /// A program that is executed gains nothing.
    NoNewPrivileges,
    /// No capability, and none to be gained.
    Capabilities,
    /// A list of allowed system calls.
    Seccomp,
    /// Landlock on files.
    Landlock,
    /// Landlock on TCP ports, where the job has no network.
    LandlockNetwork,
    /// Landlock on signals and abstract Unix sockets.
    LandlockScope,
    /// Limits of each process: files, sizes, CPU time, no core dumps.
    ProcessLimits,
    /// A control group that limits the job's memory.
    MemoryGroup,
    /// A control group that limits the job's processes.
    PidsGroup,
    /// A control group that limits the job's share of the CPU.
    CpuGroup,
}

impl Layer {
    /// Every layer, in the order in which they are shown.
    pub const ALL: [Self; 19] = [
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::PrivateRoot,
        Self::MaskedProc,
        Self::NoNewPrivileges,
        Self::Capabilities,
        Self::Seccomp,
        Self::Landlock,
        Self::LandlockNetwork,
        Self::LandlockScope,
        Self::ProcessLimits,
        Self::MemoryGroup,
        Self::PidsGroup,
        Self::CpuGroup,
    ];

    /// Whether no job runs without it, whatever its plan says.
    #[must_use]
    pub fn is_always_demanded(self) -> bool {
        match self {
            Self::UserNamespace
            | Self::MountNamespace
            | Self::PidNamespace
            | Self::NetNamespace
            | Self::IpcNamespace
            | Self::UtsNamespace
            | Self::PrivateRoot
            | Self::NoNewPrivileges
            | Self::Capabilities
            | Self::Seccomp
            | Self::ProcessLimits => true,
            Self::CgroupNamespace
            | Self::MaskedProc
            | Self::Landlock
            | Self::LandlockNetwork
            | Self::LandlockScope
            | Self::MemoryGroup
            | Self::PidsGroup
            | Self::CpuGroup => false,
        }
    }
}
