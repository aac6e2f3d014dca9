//! A job on this machine: the sandbox's process, which holds it and tells how it goes, and the two streams that it writes.
//!
//! The sandbox is this same binary under another name (`adit __sandbox --spawner`), which forks itself for each job. Its standard input is
//! a socket: the plan and the word that cancels go one way, reports come the other. When the agent dies the socket closes, and with it
//! everything of the job ends.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use adit_domain::Code;
use adit_wire::agent::v1 as pb;
use adit_wire::job::{JobReport, JobTimes, StreamBytes};
use adit_wire::sandbox::{
    self, AbsolutePath, End, MAX_REPORT_BYTES, Refusal, RefusalCode, Report, read_plan, write_plan,
};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::UnixStream;

use crate::forker::{Forker, output_pipe};
use crate::shell::{Exit, SpawnError, Stream};

/// A job that was given to its sandbox.
pub struct Job {
    /// What it writes.
    pub(crate) stream: Stream,
    /// What holds it.
    pub(crate) sandbox: Sandbox,
    /// How much of each of its streams is kept.
    pub(crate) output_bytes: u64,
}

/// The agent's line to a sandbox. Dropping it ends the job.
#[derive(Debug)]
pub struct Sandbox {
    socket: UnixStream,
    /// The beginning of a report that has not come whole.
    line: Vec<u8>,
    report: JobReport,
    taken: Instant,
    times: JobTimes,
}

/// Makes sandboxes.
#[derive(Debug)]
pub struct Sandboxes {
    forker: Forker,
}

impl Sandboxes {
    /// Makes them of a binary that calls `adit_sandbox::main`, of which nothing runs before the first job.
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { forker: Forker::new(program, &[sandbox::SUBCOMMAND, sandbox::SPAWNER_ARGUMENT]) }
    }

    /// Gives a job to a new sandbox. `hidden` is what no job sees: the agent's own folder.
    ///
    /// # Errors
    /// [`SpawnError::Program`] for bytes that are no plan, [`SpawnError::Exhausted`] when the machine has no process or pipe left.
    pub(crate) async fn start(
        &self,
        job: &pb::Job,
        hidden: Option<&Path>,
    ) -> Result<Job, SpawnError> {
        let taken = Instant::now();
        let plan = plan_of(job, hidden)?;
        let (mut socket, theirs) = UnixStream::pair().map_err(SpawnError::Exhausted)?;
        let (stdout, child_stdout) = output_pipe().map_err(SpawnError::Exhausted)?;
        let (stderr, child_stderr) = output_pipe().map_err(SpawnError::Exhausted)?;
        let theirs = theirs.into_std().map_err(SpawnError::Exhausted)?;
        theirs.set_nonblocking(false).map_err(SpawnError::Exhausted)?;
        let theirs = [OwnedFd::from(theirs), child_stdout, child_stderr];
        self.forker.send(&theirs).await.map_err(SpawnError::Exhausted)?;
        drop(theirs);
        // One that died before it read its plan says so by the end of its socket.
        if let Err(error) = socket.write_all(&plan).await {
            tracing::warn!(%error, "a sandbox did not take its plan");
        }
        let stream = Stream::Pipes { stdin: None, stdout: Some(stdout), stderr: Some(stderr) };
        let (line, report) = (Vec::new(), JobReport::default());
        let times = JobTimes::default();
        let sandbox = Sandbox { socket, line, report, taken, times };
        Ok(Job { stream, sandbox, output_bytes: job.output_bytes })
    }
}

fn plan_of(job: &pb::Job, hidden: Option<&Path>) -> Result<Vec<u8>, SpawnError> {
    let bad = |_| SpawnError::Program("The job's plan cannot be read.".to_owned());
    let length = u32::try_from(job.plan.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut plan = read_plan(&mut &[&length[..], &job.plan].concat()[..]).map_err(bad)?;
    let hidden = hidden.and_then(|path| path.to_str()).map(str::to_owned);
    plan.hidden.extend(hidden.and_then(|path| AbsolutePath::try_from(path).ok()));
    let mut bytes = Vec::new();
    write_plan(&plan, &mut bytes).map_err(bad)?;
    Ok(bytes)
}

impl Sandbox {
    /// Asks for the end of everything that the job started.
    pub(crate) fn cancel(&self) {
        if let Err(error) = self.socket.try_write(format!("{}\n", sandbox::CANCEL).as_bytes()) {
            tracing::debug!(%error, "a sandbox takes no word");
        }
    }

    /// Gives what there is to say of the job so far.
    pub(crate) fn report(&self, stdout: StreamBytes, stderr: StreamBytes) -> JobReport {
        let times = Some(JobTimes { told_us: self.elapsed_us(), ..self.times });
        JobReport { stdout, stderr, times, ..self.report.clone() }
    }

    /// Notes that the job wrote something.
    pub(crate) fn note_output(&mut self) {
        if self.times.first_byte_us.is_none() {
            self.times.first_byte_us = Some(self.elapsed_us());
        }
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.taken.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Ready once, when nothing of the job is left.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        loop {
            let mut piece = [0; 4096];
            let mut buffer = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                self.times.ended_us = Some(self.elapsed_us());
                return Poll::Ready(self.exit());
            }
            self.line.extend_from_slice(buffer.filled());
            if self.take_lines().is_err() {
                tracing::warn!("a sandbox says what is no report; its job is ended");
                return Poll::Ready(Exit::Because(Code::JobInterrupted));
            }
        }
    }

    fn take_lines(&mut self) -> Result<(), serde_json::Error> {
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Report::Layers { layers, cgroup } => {
                    self.report.layers = layers;
                    self.report.cgroup = Some(cgroup);
                }
                report @ (Report::Refused(_) | Report::Ended { .. }) => {
                    self.report.last = Some(report);
                }
                Report::Started => self.times.started_us = Some(self.elapsed_us()),
                Report::Usage(_) => {}
            }
        }
        if self.line.len() > MAX_REPORT_BYTES {
            return Err(serde::de::Error::custom("a report is too long"));
        }
        Ok(())
    }

    /// Says how the job ended, by the sandbox's last word; one that went without a word took everything with it.
    fn exit(&self) -> Exit {
        match &self.report.last {
            Some(Report::Ended { end, .. }) => match end {
                End::Exited { code } => Exit::Status(*code),
                End::Signalled { signal } => Exit::Signal(*signal),
                End::TimedOut => Exit::Because(Code::JobTimedOut),
                End::Cancelled => Exit::Because(Code::JobCancelled),
                End::ResourceExceeded { .. } => Exit::Because(Code::JobResource),
                End::Lost => Exit::Because(Code::JobInterrupted),
            },
            Some(Report::Refused(refusal)) => Exit::Because(code_of(refusal)),
            _ => Exit::Because(Code::JobInterrupted),
        }
    }
}

fn code_of(refusal: &Refusal) -> Code {
    match refusal.code {
        RefusalCode::SandboxUnavailable => Code::SandboxUnavailable,
        RefusalCode::BadPlan => Code::TargetFailed,
        RefusalCode::PathRefused => Code::JobPathRefused,
        RefusalCode::ProgramUnavailable => Code::JobProgram,
    }
}
