//! How a run is to be: sizes and times, drawn from its seed.

use super::{
    rng::Rng,
    time::{MILLI, Micros, SECOND},
};

/// How a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Controllers at the beginning.
    pub controllers: usize,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// Clients, besides the one that runs the cluster.
    pub clients: usize,
    /// How long there are faults.
    pub troubled: Micros,
    /// How long it may take afterwards until everything is as it should be.
    pub settling: Micros,
    /// Time between two faults.
    pub calm: Micros,
    /// Time between two wishes of a client.
    pub think: Micros,
    /// Raft's tick.
    pub tick: Micros,
    /// The most ticks by which election timeouts differ: with few, elections are contested.
    pub jitter: u64,
    /// Time that a controller's transaction takes.
    pub disk_delay: Micros,
    /// Time that a flush of an agent's database takes.
    pub agent_disk_delay: Micros,
    /// Time that a pull takes.
    pub pull: Micros,
    /// Entries after which a snapshot is made.
    pub snapshot_entries: u64,
    /// Bytes of entries in one message.
    pub message_bytes: u64,
    /// Bytes of entries kept in memory.
    pub cache_bytes: usize,
    /// How far clocks may be off, in milliseconds.
    pub skew: i64,
    /// How long a node may be down before its tasks are given up, in milliseconds.
    pub orphan_after: u64,
    /// Whether what may fail on nodes does.
    pub failing: bool,
}

impl Options {
    /// The options of a seed.
    #[must_use]
    pub fn choose(rng: &mut Rng) -> Self {
        let one_of = |rng: &mut Rng, values: &[u64]| rng.pick(values).copied().unwrap_or_default();
        let controllers = one_of(rng, &[3, 3, 3, 5]);
        let message_bytes = one_of(rng, &[200, 4_000, 256_000]);
        let cache_bytes = one_of(rng, &[500, 20_000, 4 << 20]);
        Options {
            controllers: usize::try_from(controllers).unwrap_or(3),
            nodes: usize::try_from(rng.within(3..=8)).unwrap_or(3),
            clients: usize::try_from(rng.within(2..=4)).unwrap_or(2),
            troubled: rng.within(40..=150) * SECOND,
            settling: 600 * SECOND,
            calm: rng.within(1..=6) * SECOND,
            think: rng.within(200..=2_000) * MILLI,
            tick: one_of(rng, &[50, 100, 150]) * MILLI,
            jitter: one_of(rng, &[2, 9, 9]),
            disk_delay: one_of(rng, &[200, 1_000, 5_000]),
            agent_disk_delay: one_of(rng, &[1_000, 10_000]),
            pull: rng.within(50..=2_000) * MILLI,
            snapshot_entries: one_of(rng, &[40, 150, 600, 5_000]),
            message_bytes,
            cache_bytes: usize::try_from(cache_bytes).unwrap_or(500),
            skew: i64::try_from(one_of(rng, &[0, 100, 5_000, 120_000])).unwrap_or(0),
            orphan_after: one_of(rng, &[20_000, 24 * 60 * 60 * 1_000]),
            failing: true,
        }
    }
}
