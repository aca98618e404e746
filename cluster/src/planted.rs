//! Bugs that are there on purpose, to prove that the checks of the simulation would find their like. They exist only
//! with the feature `planted-bugs`, which nothing that is shipped turns on, and only while a test has chosen one.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// Raft's answers leave before what they promise is on the disk.
    SentBeforeDurable,
    /// A replica forgets whom it has voted for.
    VoteForgotten,
    /// A request that was seen before is carried out again.
    RequestsForgotten,
    /// A replica's time depends on how it batches, not on the log alone.
    OwnTime,
    /// A snapshot leaves the answers to requests out.
    SnapshotWithoutRequests,
    /// Reads are answered without a quorum's word.
    ReadUnconfirmed,
    /// A placement is taken over unchecked when it is applied.
    PlacementUnchecked,
    /// An agent's report may take a task back.
    ReportsGoBack,
    /// A waiting task may run though its slot's former one still does.
    SlotShared,
    /// A new leader gives nodes no time to come back.
    NoGrace,
    /// A new leader knows only of tasks that it has placed itself.
    HoldingsForgotten,
    /// Sessions are counted anew when the leader's loops begin again.
    SessionsCountedAnew,
    /// The orchestrators overlook that a node was lost.
    LostNodeOverlooked,
}

impl Bug {
    /// Every one.
    pub const ALL: [Bug; 13] = [
        Bug::SentBeforeDurable,
        Bug::VoteForgotten,
        Bug::RequestsForgotten,
        Bug::OwnTime,
        Bug::SnapshotWithoutRequests,
        Bug::ReadUnconfirmed,
        Bug::PlacementUnchecked,
        Bug::ReportsGoBack,
        Bug::SlotShared,
        Bug::NoGrace,
        Bug::HoldingsForgotten,
        Bug::SessionsCountedAnew,
        Bug::LostNodeOverlooked,
    ];
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether `bug` is the one that was chosen on this thread.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }

    /// Chooses a bug for this thread, or none.
    pub fn choose(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::{choose, is};

/// No bug is planted.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}
