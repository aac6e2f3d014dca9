//! A process that must not outlive the one that started it holds the reading end of a pipe; the end of the pipe is the end of the parent.

use std::future::pending;

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

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
