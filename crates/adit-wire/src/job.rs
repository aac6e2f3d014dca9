//! What a gateway has a machine run, and what the machine says of it.
//!
//! The plan travels in the message that opens the session; the session's warrant holds its digest, so that a machine runs what the
//! authority signed and nothing else.

use serde::{Deserialize, Serialize};

use crate::agent::v1 as pb;
use crate::digest::Digest;
use crate::sandbox::{CgroupKind, LayerState, Report};

const CONTEXT: &[u8] = b"adit-job-v1\n";

/// The largest report of a machine, in bytes: the two longest reports of a sandbox, and some numbers.
pub const MAX_JOB_REPORT_BYTES: usize = 2 * crate::sandbox::MAX_REPORT_BYTES + 1024;

/// Gives the hash of a job that its warrant holds: `"adit-job-v1\n"`, `[output_bytes: u64 BE]`, the plan's bytes.
pub fn digest(job: &pb::Job) -> Digest {
    Digest::of(CONTEXT, &[&job.output_bytes.to_be_bytes(), &job.plan])
}

/// How much a job wrote to one of its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamBytes {
    /// All of it, in bytes.
    pub written: u64,
    /// What was not kept, in bytes.
    pub dropped: u64,
}

/// What a machine says of a job that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobReport {
    /// The sandbox's last word; none when it went without one.
    pub last: Option<Report>,
    /// What held the job.
    pub layers: Vec<LayerState>,
    /// Which control groups did.
    pub cgroup: Option<CgroupKind>,
    /// Its standard output.
    pub stdout: StreamBytes,
    /// Its standard error.
    pub stderr: StreamBytes,
    /// How long it took to come how far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<JobTimes>,
}

/// When what happened, in microseconds since the machine took the job: lengths, because two machines' clocks differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTimes {
    /// Its program ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_us: Option<u64>,
    /// It wrote something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// Nothing of it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<u64>,
    /// This was told.
    pub told_us: u64,
}

impl JobReport {
    /// Writes it as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("its maps have names as keys")
    }

    /// Reads one that a machine sent; none for what is no report or is longer than one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_JOB_REPORT_BYTES {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_job_changes_its_digest() {
        let job = pb::Job { plan: b"{}".to_vec().into(), output_bytes: 1 };
        let other = pb::Job { output_bytes: 2, ..job.clone() };
        let longer = pb::Job { plan: b"{ }".to_vec().into(), ..job.clone() };
        assert_ne!(digest(&job), digest(&other));
        assert_ne!(digest(&job), digest(&longer));
    }

    #[test]
    fn a_report_reads_back_and_one_that_is_too_long_does_not() {
        let report = JobReport { last: Some(Report::Started), ..JobReport::default() };
        assert_eq!(JobReport::read(&report.to_bytes()), Some(report));
        assert_eq!(JobReport::read(&vec![b' '; MAX_JOB_REPORT_BYTES + 1]), None);
        assert_eq!(JobReport::read(b"{}"), None);
    }
}
