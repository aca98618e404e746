//! What to do next for a task, from what is wanted and what is there. Pure: the worker does what this says, looks
//! again, and asks again, until the answer is to wait.

use std::collections::{BTreeMap, BTreeSet};

use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{DesiredState, TaskState};

/// What a task's container does, as the runtime says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Container {
    /// There is none.
    None,
    /// It runs.
    Running,
    /// It has ended, and how is known.
    Ended,
}

/// What there is of a task on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// How far it has come; none if it was never looked at.
    pub state: Option<TaskState>,
    /// Its container.
    pub container: Container,
    /// Everything is there to start the container.
    pub prepared: bool,
    /// Something of it is left on the node that an ended task doesn't need: container, root filesystem, network.
    pub leftovers: bool,
}

impl Observed {
    /// Of a task that nothing is known of.
    pub const NOTHING: Observed =
        Observed { state: None, container: Container::None, prepared: false, leftovers: false };

    fn is_final(&self) -> bool {
        self.state.is_some_and(TaskState::is_final)
    }
}

/// The next thing to do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Look whether this node can run it, and report `accepted` or `rejected`.
    Accept,
    /// Pull the image, prepare root filesystem and network.
    Prepare,
    /// Start the container.
    Start,
    /// The container runs, as it should: see to its health, and notice its end.
    Watch,
    /// Stop the container.
    Stop,
    /// The task has ended: report how.
    Conclude,
    /// Take away what an ended task doesn't need.
    Clean,
    /// Take away what is left of it, logs and anonymous volumes too.
    Forget,
    /// Nothing to do until something changes.
    Wait,
}

/// What to do next for a task that should go as far as `desired`; none if it isn't assigned to this node (any more).
pub fn next(desired: Option<DesiredState>, seen: &Observed) -> Step {
    let wanted = desired.is_some_and(|desired| desired <= DesiredState::Running) && !seen.is_final();
    if wanted {
        return match seen.container {
            Container::Running => Step::Watch,
            Container::Ended => Step::Conclude,
            // It was started, and is gone without a word: the machine has restarted.
            Container::None if seen.state >= Some(TaskState::Starting) => Step::Conclude,
            Container::None if seen.state.is_none() => Step::Accept,
            Container::None if !seen.prepared || seen.state < Some(TaskState::Ready) => Step::Prepare,
            Container::None if desired == Some(DesiredState::Running) => Step::Start,
            Container::None => Step::Wait,
        };
    }
    if seen.container == Container::Running {
        return Step::Stop;
    }
    match desired {
        Some(_) if !seen.is_final() => Step::Conclude,
        _ if seen.container != Container::None || seen.prepared || seen.leftovers => Step::Clean,
        Some(_) => Step::Wait,
        None => Step::Forget,
    }
}

/// The next step of every task that is assigned or of which there is something on the node.
pub fn plan(
    assigned: &BTreeMap<TaskId, DesiredState>,
    observed: &BTreeMap<TaskId, Observed>,
) -> Vec<(TaskId, Step)> {
    let ids: BTreeSet<TaskId> = assigned.keys().chain(observed.keys()).copied().collect();
    ids.into_iter()
        .map(|id| {
            let seen = observed.get(&id).unwrap_or(&Observed::NOTHING);
            (id, next(assigned.get(&id).copied(), seen))
        })
        .collect()
}
