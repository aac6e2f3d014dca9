//! Waits with a limit: for an event, or for an answer that is as wanted.

use std::future::Future;
use std::time::Duration;

/// How long anything may take before a test gives up: far more than it takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often a question is asked again.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// Waits for something that must happen within [`LIMIT`].
///
/// # Panics
/// When it does not.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within {} s", LIMIT.as_secs()),
    }
}

/// Asks until there is an answer.
///
/// # Panics
/// When there is none within [`LIMIT`].
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut tick = tokio::time::interval(ASK_EVERY);
    within(what, async {
        loop {
            tick.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    })
    .await
}
