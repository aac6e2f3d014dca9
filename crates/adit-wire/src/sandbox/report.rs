//! The reports: what holds the job, how it goes, how it ended.

use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};

use super::Layer;

/// The longest report, in bytes with its end of line: all layers, each with a reason.
pub const MAX_REPORT_BYTES: usize = 16 * 1024;

/// One line of a sandbox to its agent. After `refused` or `ended` comes none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Report {
    /// The job did not run.
    Refused(Refusal),
    /// What holds the job; comes before it starts.
    Layers {
        /// Each layer that concerns this job.
        layers: Vec<LayerState>,
        /// Which control groups hold it.
        cgroup: CgroupKind,
    },
    /// The job's program runs.
    Started,
    /// What it uses, about once a second.
    Usage(Usage),
    /// It ended, and nothing of it is left.
    Ended {
        /// How.
        end: End,
        /// What it used.
        totals: Totals,
    },
}

/// Why a job did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// The layer that is missing.
    pub layer: Option<Layer>,
    /// The path parameter that is at fault.
    pub parameter: Option<String>,
    /// A sentence.
    pub reason: String,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// A demanded layer cannot be enforced here.
    SandboxUnavailable,
    /// The bytes are no plan.
    BadPlan,
    /// A path parameter leads where it may not, or nowhere.
    PathRefused,
    /// The program is not there or cannot be executed.
    ProgramUnavailable,
}

/// A layer and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerState {
    /// The layer.
    pub layer: Layer,
    /// How it is.
    pub state: State,
}

/// Whether a layer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    /// It holds.
    Enforced,
    /// The plan says that it does not apply: the job has the network.
    Waived,
    /// It does not hold.
    Missing {
        /// Why, in a sentence.
        reason: String,
    },
}

/// Which control groups hold a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupKind {
    /// The unified hierarchy.
    V2,
    /// A hierarchy each controller, or some of them.
    V1,
    /// None: limits of each process, and the process namespace.
    LimitsOnly,
}

/// What a job uses at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// CPU time since the start, in milliseconds.
    pub cpu_ms: u64,
    /// Processes and threads, with the sandbox's own first process.
    pub pids: u64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// By itself.
    Exited {
        /// Its exit status.
        code: i32,
    },
    /// By a signal that the sandbox did not send.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// Its time was over.
    TimedOut,
    /// The agent said so, or died.
    Cancelled,
    /// It used more than it may.
    ResourceExceeded {
        /// Of what.
        resource: Resource,
    },
    /// The sandbox itself was killed from outside.
    Lost,
}

/// What a job can use too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// `memory_bytes`.
    Memory,
    /// `pids`.
    Pids,
    /// `cpu_seconds`.
    Cpu,
    /// `file_bytes`.
    FileSize,
    /// `scratch_bytes`.
    Scratch,
    /// `scratch_files`.
    Files,
}

/// What a job used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// CPU time of its programs, in milliseconds.
    pub user_ms: u64,
    /// CPU time of the kernel for it, in milliseconds.
    pub system_ms: u64,
    /// The most memory of one of its processes, in bytes.
    pub peak_bytes: u64,
    /// Time from start to end, in milliseconds.
    pub elapsed_ms: u64,
}

/// Reads the next report; `None` at the end.
///
/// # Errors
/// `InvalidData` for a line that is no report or is longer than [`MAX_REPORT_BYTES`], or as the source says.
pub fn read_report(source: &mut impl BufRead) -> io::Result<Option<Report>> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_REPORT_BYTES).unwrap_or(u64::MAX);
    source.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let whole = line.strip_suffix(b"\n").ok_or(io::ErrorKind::InvalidData)?;
    serde_json::from_slice(whole)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes one report as a line.
///
/// # Errors
/// As the sink says.
pub fn write_report(report: &Report, sink: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    sink.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let end = End::ResourceExceeded { resource: Resource::Memory };
        for report in [Report::Started, Report::Ended { end, totals: Totals::default() }] {
            let mut line = Vec::new();
            write_report(&report, &mut line).unwrap();
            assert_eq!(read_report(&mut &line[..]).unwrap(), Some(report));
        }
    }

    #[test]
    fn the_names_on_the_wire_are_those_of_the_requirements() {
        // CMD-32
        let layer = serde_json::to_string(&Layer::NoNewPrivileges).unwrap();
        let code = serde_json::to_string(&RefusalCode::SandboxUnavailable).unwrap();
        assert_eq!(
            (layer.as_str(), code.as_str()),
            (r#""no_new_privileges""#, r#""sandbox_unavailable""#)
        );
    }

    #[test]
    fn a_line_that_is_too_long_or_cut_is_refused() {
        let long = vec![b' '; MAX_REPORT_BYTES + 1];
        assert_eq!(read_report(&mut &long[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            read_report(&mut &b"\"started\""[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(read_report(&mut &b""[..]).unwrap(), None);
    }
}
