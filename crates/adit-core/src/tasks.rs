//! The owner of every task of a gateway: it starts them, tells them to end, and waits for them.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks with an owner that waits for them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Starts a task. It must end soon after [`Tasks::ending`] resolves.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task);
    }

    /// Resolves once the owner wants its tasks to end.
    pub async fn ending(&self) {
        self.token.cancelled().await;
    }

    /// Tells whether the owner wants its tasks to end.
    pub fn is_ending(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Tells every task to end, and waits until the last has.
    pub async fn end(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
