//! Simulated time: the world's, which nobody in it can read, and each machine's clocks, which are wrong.

use wharf_cluster::ids::Timestamp;

/// Microseconds since the simulation began, or between two moments of it.
pub type Micros = u64;

/// A millisecond.
pub const MILLI: Micros = 1_000;
/// A second.
pub const SECOND: Micros = 1_000_000;

/// What wall clocks show when the simulation begins.
const EPOCH_MILLIS: u64 = 1_800_000_000_000;

/// A machine's clocks: both run a little fast or slow, and the one that shows the time of day is off.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// How far the time of day is off, in milliseconds.
    pub offset: i64,
    /// How many millionths the machine's time runs too fast.
    pub drift: i64,
}

impl Clock {
    /// What the machine thinks has passed since the simulation began.
    #[must_use]
    pub fn local(self, now: Micros) -> Micros {
        scale(now, 1_000_000 + self.drift, 1_000_000)
    }

    /// How long it really takes until the machine thinks that `local` has passed.
    #[must_use]
    pub fn real(self, local: Micros) -> Micros {
        scale(local, 1_000_000, 1_000_000 + self.drift)
    }

    /// The time of day that the machine shows.
    #[must_use]
    pub fn wall(self, now: Micros) -> Timestamp {
        let millis = EPOCH_MILLIS + self.local(now) / MILLI;
        Timestamp(millis.saturating_add_signed(self.offset))
    }
}

fn scale(value: u64, by: i64, of: i64) -> u64 {
    let scaled = i128::from(value) * i128::from(by) / i128::from(of);
    u64::try_from(scaled).unwrap_or(0)
}
