//! Two lanes for the tasks of sessions, so that a key does not wait behind a flood.
//!
//! A thread that relays a flood is busy all the time, and the kernel lets a busy thread wait for its turn, a few milliseconds at each hop;
//! one that sleeps most of the time runs as soon as it is woken. No order of tasks within a thread can mend that. So there are threads for
//! what is quiet and threads for what floods: a task begins in the first lane, moves when it has kept its thread busy for a while, and moves
//! back when it no longer does. Sockets and timers stay with the lane that made them, which wakes the task wherever it is.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// How long a task is watched before it is judged.
const WATCHED_FOR: Duration = Duration::from_millis(20);

/// A task that is busy for more than one in so many moments floods.
const FLOODS: u32 = 10;

/// A task that is busy for less than one in so many moments is quiet again.
const IS_QUIET: u32 = 40;

/// Both lanes of the process; without them every task stays where it began.
static LANES: OnceLock<Lanes> = OnceLock::new();

struct Lanes {
    quiet: Handle,
    busy: Runtime,
}

/// Opens the second lane, with as many threads as the first has; once in a process.
///
/// # Errors
/// What the system says when it starts no thread.
pub fn open(quiet: &Runtime, threads: usize) -> io::Result<()> {
    let busy = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("flood")
        .enable_all()
        .build()?;
    // A second call keeps the first one's lanes.
    let _ = LANES.set(Lanes { quiet: quiet.handle().clone(), busy });
    Ok(())
}

/// Runs a task that may change lanes. Dropping this ends it.
///
/// # Panics
/// When the task did.
pub fn changing(
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    // Boxed at once, so that what waits for the end has no room for the task itself.
    let task: Task = Box::pin(task);
    async {
        let Some(lanes) = LANES.get() else { return task.await };
        let (wanted, ended) = oneshot::channel();
        lanes.ride(Lane::Quiet, task, wanted);
        assert!(ended.await.is_ok(), "the task on the lanes panicked");
    }
}

impl Lanes {
    fn ride(&'static self, lane: Lane, task: Task, wanted: oneshot::Sender<()>) {
        let load = Load { lane, since: Instant::now(), busy: Duration::ZERO };
        let rider = Rider { lanes: self, load, task: Some((task, wanted)) };
        match lane {
            Lane::Quiet => drop(self.quiet.spawn(rider)),
            Lane::Busy => drop(self.busy.spawn(rider)),
        }
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task on one of the lanes.
struct Rider {
    lanes: &'static Lanes,
    load: Load,
    /// It, and who waits for its end.
    task: Option<(Task, oneshot::Sender<()>)>,
}

impl Future for Rider {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some((task, wanted)) = &mut self.task else { return Poll::Ready(()) };
        let began = Instant::now();
        if wanted.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        if task.as_mut().poll(cx).is_ready() {
            if let Some((_, wanted)) = self.task.take() {
                // Who waited may have gone just now.
                let _ = wanted.send(());
            }
            return Poll::Ready(());
        }
        let Some(lane) = self.load.judge(began, Instant::now()) else { return Poll::Pending };
        if let Some((task, wanted)) = self.task.take() {
            // Whatever would have woken it here has woken it: a task is polled when it begins.
            self.lanes.ride(lane, task, wanted);
        }
        Poll::Ready(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lane {
    Quiet,
    Busy,
}

/// How busy a task keeps its thread.
struct Load {
    lane: Lane,
    since: Instant,
    busy: Duration,
}

impl Load {
    /// Counts one poll; gives the lane where the task belongs, if that is the other one.
    fn judge(&mut self, began: Instant, ended: Instant) -> Option<Lane> {
        self.busy += ended - began;
        let watched = ended - self.since;
        if watched < WATCHED_FOR {
            return None;
        }
        let busy = std::mem::take(&mut self.busy);
        self.since = ended;
        match self.lane {
            Lane::Quiet if busy * FLOODS > watched => Some(Lane::Busy),
            Lane::Busy if busy * IS_QUIET < watched => Some(Lane::Quiet),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Polls that take so long, each so long after the one before; gives where the task is then.
    fn after(polls: u32, lane: Lane, each: Duration, every: Duration) -> Lane {
        let start = Instant::now();
        let mut load = Load { lane, since: start, busy: Duration::ZERO };
        for poll in 0..polls {
            let began = start + every * poll;
            if let Some(other) = load.judge(began, began + each) {
                return other;
            }
        }
        lane
    }

    #[test]
    fn what_keeps_its_thread_busy_moves() {
        assert_eq!(after(50, Lane::Quiet, MS, MS), Lane::Busy);
        assert_eq!(after(50, Lane::Quiet, MS / 4, MS), Lane::Busy);
    }

    #[test]
    fn ten_keys_a_second_and_one_burst_stay() {
        assert_eq!(after(50, Lane::Quiet, MS / 5, 100 * MS), Lane::Quiet);
        assert_eq!(after(4, Lane::Quiet, MS, MS), Lane::Quiet);
    }

    #[test]
    fn what_has_become_quiet_comes_back() {
        assert_eq!(after(50, Lane::Busy, MS / 4, MS), Lane::Busy);
        assert_eq!(after(50, Lane::Busy, MS / 5, 100 * MS), Lane::Quiet);
    }

    #[test]
    fn a_task_that_moves_goes_on_where_it_was() {
        let quiet =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        open(&quiet, 1).expect("threads");
        let (ask, asked) = std::sync::mpsc::sync_channel::<u32>(1);
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        let echo = std::thread::spawn(move || {
            while let Ok(round) = asked.recv() {
                tell.blocking_send(round).expect("the task waits");
            }
        });
        let (done, seen) = std::sync::mpsc::sync_channel(1);
        quiet.block_on(changing(async move {
            let mut seen = Vec::new();
            let start = Instant::now();
            let mut round = 0;
            // Busy, then waiting for somebody else: a word that comes while the task moves must not be lost.
            while !seen.contains(&"flood".to_owned()) && start.elapsed() < 1000 * WATCHED_FOR {
                seen.push(std::thread::current().name().unwrap_or_default().to_owned());
                seen.dedup();
                let began = Instant::now();
                while began.elapsed() < MS / 2 {
                    std::hint::spin_loop();
                }
                ask.send(round).expect("the echo is there");
                assert_eq!(told.recv().await, Some(round));
                round += 1;
            }
            done.send(seen).expect("the test waits");
        }));
        let seen = seen.recv().expect("the task has ended");
        assert_eq!(seen.last().map(String::as_str), Some("flood"), "{seen:?}");
        echo.join().expect("the echo has ended");
    }

    #[test]
    fn who_waits_for_a_task_hears_its_panic() {
        let quiet =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        open(&quiet, 1).expect("threads");
        let ended = quiet.block_on(async {
            let failing = tokio::spawn(changing(async { panic!("as the test asks") }));
            let whole = tokio::spawn(changing(async {}));
            (failing.await, whole.await)
        });
        assert!(ended.0.is_err_and(|error| error.is_panic()) && ended.1.is_ok());
    }

    #[test]
    fn a_task_that_nobody_waits_for_ends() {
        let quiet =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        open(&quiet, 1).expect("threads");
        let (held, ended) = std::sync::mpsc::sync_channel::<()>(1);
        quiet.block_on(async {
            let waiting = tokio::spawn(changing(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }));
            waiting.abort();
        });
        assert!(ended.recv().is_err(), "what the task held was let go");
    }
}
