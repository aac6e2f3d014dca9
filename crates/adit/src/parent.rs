//! What the gateway's and the agent's processes have in common.
//!
//! A process that must not outlive the one that started it holds the reading end of a pipe; the end of the pipe is the end of the parent.

use std::future::pending;
use std::io;

use adit_link::lanes;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Makes the runtime of a gateway or an agent: half as many workers as processors, at least one, and as many for what floods.
///
/// A key wakes one task after another; a second idle worker is woken for each of them, finds nothing and sleeps again, which costs more
/// than the task. The other half is for the shells, the database's threads and the recorder.
///
/// # Errors
/// What the system says.
pub fn runtime() -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = (processors / 2).max(1);
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .event_interval(EVENTS_AFTER)
        .enable_all()
        .build()?;
    lanes::open(&runtime, workers)?;
    Ok(runtime)
}

/// After how many turns of tasks a worker looks for what arrived on sockets and terminals. Few, so that a key does not wait for as many turns
/// of a flood that has not changed lanes yet; not fewer, because with 900 sessions that are typed into the looks are a fifth of the work.
const EVENTS_AFTER: u32 = 16;

/// Keeps this process's keys from a core file and from other processes of its account. A system that refuses leaves it as it was, and
/// `adit doctor --privileges` says so.
pub fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let no_file = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let no_reader = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = no_file.and(no_reader) {
        tracing::warn!(%error, "others of this account, or a core file, may get this process's keys");
    }
}

/// Resolves on SIGINT or SIGTERM, and, for a child of `adit up`, when its parent is gone.
pub async fn stop_asked(has_parent: bool) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv(), if !has_parent => {}
        _ = terminate.recv() => {}
        () = parent_gone(has_parent) => {}
    }
}

async fn parent_gone(has_parent: bool) {
    if !has_parent {
        return pending().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 16];
    while let Ok(read) = stdin.read(&mut nothing).await {
        if read == 0 {
            return;
        }
    }
}
