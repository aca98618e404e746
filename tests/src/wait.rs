//! Waiting for a condition, with a deadline.

use std::{
    fmt::Debug,
    thread::sleep,
    time::{Duration, Instant},
};

/// Waits until `condition` gives a value.
///
/// # Panics
/// When the deadline passes; it names `what` was waited for.
pub fn wait_for<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        sleep(Duration::from_millis(100));
    }
}

/// Waits until what `look` sees satisfies `good`, and tells what it saw last if that never happens.
///
/// # Panics
/// When the deadline passes.
pub fn within<T: Debug>(
    seconds: u64,
    what: &str,
    mut look: impl FnMut() -> T,
    good: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let seen = look();
        if good(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}; last seen: {seen:#?}");
        sleep(Duration::from_millis(100));
    }
}
