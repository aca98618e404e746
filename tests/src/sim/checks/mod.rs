//! What must hold at every step, watched from outside all machines.
//!
//! [`Reference`] executes each command once, when the first replica applies it; every replica is compared with it, and
//! whatever clients and agents see is judged by it: it is ahead of everybody.

mod agents;
mod calls;
mod reference;
mod silence;
mod tasks;

pub use agents::Agents;
pub use calls::Calls;
pub use reference::Reference;
pub use silence::Silence;
pub use tasks::Tasks;

use std::fmt;

/// What can be found broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// A command that a client was told of is gone, or another one stands in its place.
    AcknowledgedLost,
    /// A client's request changed something twice.
    AppliedTwice,
    /// Two replicas are not equal at the same index.
    ReplicasDiffer,
    /// Two controllers led in the same term.
    TwoLeaders,
    /// A task's state, desired state or node went back.
    TaskWentBack,
    /// A slot's place is held twice by nodes that nobody has declared down.
    SlotHeldTwice,
    /// A task was placed where it doesn't fit.
    BadPlacement,
    /// A read missed a write that was acknowledged before it began.
    StaleRead,
    /// An agent followed an assignment older than one it had followed.
    OldGeneration,
    /// A container of a wanted task was stopped.
    StoppedUnasked,
    /// Work was moved away from a node that nobody had waited for.
    GivenUpTooSoon,
    /// A replica's disk lacks what it said that it had.
    LogLost,
    /// A replica stopped by itself.
    ReplicaStopped,
    /// The program panicked.
    Panic,
    /// The faults stopped, and the cluster did not come to do what it should.
    NotSettled,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Check::AcknowledgedLost => "an acknowledged command was lost",
            Check::AppliedTwice => "a request was applied twice",
            Check::ReplicasDiffer => "replicas differ",
            Check::TwoLeaders => "two leaders in one term",
            Check::TaskWentBack => "a task went back",
            Check::SlotHeldTwice => "a slot is held twice",
            Check::BadPlacement => "a task was placed where it doesn't fit",
            Check::StaleRead => "a stale read",
            Check::OldGeneration => "an agent followed an old assignment",
            Check::StoppedUnasked => "a container of a wanted task was stopped",
            Check::GivenUpTooSoon => "a node was given up too soon",
            Check::LogLost => "a replica lost its log",
            Check::ReplicaStopped => "a replica stopped by itself",
            Check::Panic => "a panic",
            Check::NotSettled => "the cluster did not settle",
        })
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is broken.
    pub check: Check,
    /// How it shows.
    pub what: String,
}

/// What a check answers.
pub type Checked = Result<(), Violation>;

/// Fails unless `holds`.
pub(super) fn ensure(holds: bool, check: Check, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { check, what: what() }) }
}
