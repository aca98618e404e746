//! The knobs of one Raft replica, with defaults for controllers on one site.

use std::ops::Range;
use std::time::Duration;

/// When a snapshot is taken and how much log stays behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Take one after this many entries.
    pub entries: u64,
    /// Take one after this many bytes of entries.
    pub bytes: u64,
    /// Entries kept behind the snapshot, so that a follower that lags a little needs no snapshot.
    pub tail_entries: u64,
    /// About how many bytes those may take; when entries are large, fewer are kept.
    pub tail_bytes: u64,
}

/// Configuration of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftConfig {
    /// This replica's id; never 0, never used again after its removal.
    pub id: u64,
    /// Real time between two ticks.
    pub tick: Duration,
    /// Ticks between two heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader after which one may be elected.
    pub election_ticks: usize,
    /// Random ticks added to `election_ticks`; a range of one value makes elections deterministic.
    pub election_jitter: Range<usize>,
    /// Entries of one append message, in bytes (a single larger entry still goes alone).
    pub max_message_bytes: u64,
    /// Append messages sent to a follower before it has acknowledged the first.
    pub max_inflight_messages: usize,
    /// Proposed but uncommitted bytes on a leader; more is refused as overload.
    pub max_uncommitted_bytes: u64,
    /// Bytes of commands that wait to be proposed; more is refused as overload.
    pub max_queued_bytes: usize,
    /// The largest command that can be proposed.
    pub max_command_bytes: usize,
    /// Bytes of commands that go into one round of the driver, and so into one fsync.
    pub max_batch_bytes: usize,
    /// Entries kept in memory, in bytes; older ones are read from disk when a follower needs them.
    pub cache_bytes: usize,
    /// When to snapshot and compact.
    pub snapshot: SnapshotPolicy,
}

impl RaftConfig {
    /// The defaults: an election starts 0.7 to 1.2 s after a leader was last heard.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self {
            id,
            tick: Duration::from_millis(50),
            heartbeat_ticks: 1,
            election_ticks: 14,
            election_jitter: 0..10,
            max_message_bytes: 256 << 10,
            max_inflight_messages: 64,
            max_uncommitted_bytes: 32 << 20,
            max_queued_bytes: 16 << 20,
            max_command_bytes: 3 << 20,
            max_batch_bytes: 1 << 20,
            cache_bytes: 4 << 20,
            snapshot: SnapshotPolicy {
                entries: 50_000,
                bytes: 16 << 20,
                tail_entries: 5_000,
                tail_bytes: 4 << 20,
            },
        }
    }

    pub(super) fn to_raft(&self, applied: u64) -> ::raft::Config {
        ::raft::Config {
            id: self.id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            min_election_tick: self.election_ticks + self.election_jitter.start,
            max_election_tick: self.election_ticks + self.election_jitter.end,
            applied,
            max_size_per_msg: self.max_message_bytes,
            max_inflight_msgs: self.max_inflight_messages,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ::raft::ReadOnlyOption::Safe,
            // `batch_append` would merge a far-behind follower's whole backlog into one message,
            // whatever `max_size_per_msg` says.
            batch_append: false,
            max_uncommitted_size: self.max_uncommitted_bytes,
            max_committed_size_per_ready: 16 << 20,
            ..::raft::Config::default()
        }
    }
}
