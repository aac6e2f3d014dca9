//! Sandboxes that a waiting process forks.

use std::io::{BufReader, IoSlice, PipeReader, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use adit_wire::sandbox::{
    End, Plan, Report, SPAWNER_ARGUMENT, SUBCOMMAND, read_report, write_plan,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::job::{BOTH, Bench, By, USER, plan};

struct Spawner {
    child: Child,
    socket: UnixStream,
}

impl Spawner {
    fn start(bench: &Bench, by: By) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(bench.path("sandbox"));
        command.args([SUBCOMMAND, SPAWNER_ARGUMENT]).stdin(OwnedFd::from(theirs));
        if by == By::User {
            command.uid(USER).gid(USER);
        }
        Self { child: command.spawn().unwrap(), socket }
    }

    fn run(&self, plan: &Plan) -> (UnixStream, PipeReader) {
        let (mut agent, theirs) = UnixStream::pair().unwrap();
        let (output, output_theirs) = std::io::pipe().unwrap();
        let descriptors = [theirs.as_fd(), output_theirs.as_fd(), output_theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&self.socket, &[IoSlice::new(b"j")], &mut ancillary, SendFlags::empty()).unwrap();
        write_plan(plan, &mut agent).unwrap();
        (agent, output)
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end((agent, mut output): (UnixStream, PipeReader)) -> (String, Report) {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let mut reports = BufReader::new(agent);
    let mut last = None;
    while let Some(report) = read_report(&mut reports).unwrap() {
        last = Some(report);
    }
    (text, last.unwrap())
}

#[test]
fn a_spawner_runs_jobs_beside_one_another_and_each_by_itself() {
    // CMD-30
    let bench = Bench::new();
    for by in BOTH {
        let spawner = Spawner::start(&bench, by);
        let mut first = spawner.run(&bench.attempt(&["survive"]));
        let second = spawner.run(&bench.attempt(&["descriptors"]));
        let (text, report) = end(second);
        assert_eq!(text, "0 1 2 3\n", "{by:?}");
        assert!(matches!(report, Report::Ended { end: End::Exited { code: 0 }, .. }), "{report:?}");
        first.0.write_all(b"cancel\n").unwrap();
        let (_, report) = end(first);
        assert!(matches!(report, Report::Ended { end: End::Cancelled, .. }), "{by:?} {report:?}");
    }
}

#[test]
fn a_message_without_a_job_costs_nobody_anything() {
    // P12 of the promises
    let bench = Bench::new();
    let mut spawner = Spawner::start(&bench, By::Root);
    spawner.socket.write_all(b"nothing").unwrap();
    let (text, _) = end(spawner.run(&plan(&["echo", "ran"])));
    assert_eq!(text, "ran\n");
    spawner.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(spawner.child.wait().unwrap().success());
}

#[test]
fn the_agents_death_ends_the_spawner_and_its_jobs() {
    // CMD-33
    let bench = Bench::new();
    let mut spawner = Spawner::start(&bench, By::Root);
    let (agent, mut output) = spawner.run(&bench.attempt(&["survive"]));
    let mut bytes = [0; 1];
    assert_eq!(output.read(&mut bytes).unwrap(), 1);
    spawner.socket.shutdown(std::net::Shutdown::Both).unwrap();
    drop(agent);
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(spawner.child.wait().unwrap().success());
}
