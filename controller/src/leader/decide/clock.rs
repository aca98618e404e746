//! The time that a leader goes by, and stamps on what it proposes.

use std::time::Duration;
use wharf_cluster::ids::Timestamp;

/// A leader's time. The state's never goes back: a leader whose clock is behind an earlier one's would make time stand
/// still until it has caught up, and with it restarts, rollouts and all else that waits. So time goes on from where the
/// state had it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaderClock {
    state: Timestamp,
    began: Duration,
}

impl LeaderClock {
    /// The clock of a leadership that begins when the state's time is `state`, and `elapsed` has passed since any fixed
    /// moment.
    #[must_use]
    pub fn new(state: Timestamp, elapsed: Duration) -> Self {
        LeaderClock { state, began: elapsed }
    }

    /// The time, when this machine's clock says `wall`, and `elapsed` has passed since that same moment.
    #[must_use]
    pub fn now(&self, wall: Timestamp, elapsed: Duration) -> Timestamp {
        let led = u64::try_from(elapsed.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX);
        wall.max(self.state.plus(led))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_though_the_clock_is_behind() {
        let second = Duration::from_secs;
        let clock = LeaderClock::new(Timestamp(100_000), second(5));
        assert_eq!(clock.now(Timestamp(40_000), second(5)), Timestamp(100_000));
        assert_eq!(clock.now(Timestamp(47_000), second(12)), Timestamp(107_000));
        assert_eq!(clock.now(Timestamp(200_000), second(13)), Timestamp(200_000));
    }
}
