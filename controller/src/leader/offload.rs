//! Where a decision is made: here, or, if it may take long, on a thread where nobody waits behind it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use wharf_cluster::state::State;

/// With no more tasks than this a decision takes less than the way to another thread and back is worth: a small part of
/// a millisecond.
const FEW_TASKS: usize = 200;

/// Makes a decision on `state`. `None` if it panicked.
pub(super) async fn decide<T: Send + 'static>(
    state: &State,
    decision: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if state.task_count() <= FEW_TASKS {
        // What it worked on is dropped with it.
        return catch_unwind(AssertUnwindSafe(decision)).ok();
    }
    tokio::task::spawn_blocking(decision).await.ok()
}
