//! The time of day: read here only, and carried inside commands from here on.

use std::time::{SystemTime, UNIX_EPOCH};
use wharf_cluster::ids::Timestamp;

/// What this machine's clock says.
#[must_use]
pub fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

/// A moment in the state's form.
#[must_use]
pub fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A moment of the state in the system's form.
#[must_use]
pub fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_millis(at.0)
}
