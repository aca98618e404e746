//! The one history: each command executed once, and every replica compared with it.

use super::{Check, Checked, ensure};
use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};
use wharf_cluster::{
    event::Event,
    ids::RequestId,
    level::Level,
    state::{Outcome, State},
};
use wharf_proto::codec::decode_command;

/// States at indexes divisible by this are compared as a whole, others by a few of their parts.
const COMPARED: u64 = 16;

/// What stands at an index.
#[derive(Debug)]
struct Fact {
    term: u64,
    command: u64,
    outcome: Outcome,
}

/// The one history.
#[derive(Debug, Default)]
pub struct Reference {
    facts: BTreeMap<u64, Fact>,
    /// The state after each command.
    states: Vec<(u64, State)>,
    /// The first answer to each request, and its index.
    requests: BTreeMap<RequestId, (u64, Outcome)>,
    acknowledged: BTreeSet<u64>,
    leaders: BTreeMap<u64, u64>,
    /// Commands in it.
    pub commands: u64,
}

impl Reference {
    /// The newest state.
    #[must_use]
    pub fn state(&self) -> State {
        self.states.last().map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// The newest state, borrowed; `None` before the first command.
    #[must_use]
    pub fn newest(&self) -> Option<&State> {
        self.states.last().map(|(_, state)| state)
    }

    /// The last index with a command.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.states.last().map_or(0, |(index, _)| *index)
    }

    /// The state that reflects the log up to `index`.
    #[must_use]
    pub fn state_at(&self, index: u64) -> Option<&State> {
        let upto = self.states.partition_point(|(at, _)| *at <= index);
        upto.checked_sub(1).map(|last| &self.states[last].1)
    }

    /// The first answer to a request.
    #[must_use]
    pub fn answer(&self, request: RequestId) -> Option<&(u64, Outcome)> {
        self.requests.get(&request)
    }

    /// A client was told that what stands at `index` happened.
    pub fn acknowledge(&mut self, index: u64) {
        self.acknowledged.insert(index);
    }

    /// The last index that a client was told of.
    #[must_use]
    pub fn last_acknowledged(&self) -> u64 {
        self.acknowledged.last().copied().unwrap_or(0)
    }

    /// A controller leads a term.
    ///
    /// # Errors
    /// When another one does.
    pub fn leads(&mut self, term: u64, id: u64) -> Checked {
        let known = *self.leaders.entry(term).or_insert(id);
        ensure(known == id, Check::TwoLeaders, || format!("controllers {known} and {id} lead term {term}"))
    }

    /// A replica applied an entry. Gives what it did if it is the first that did, and the state after it.
    ///
    /// # Errors
    /// When another replica did otherwise.
    pub fn applied(
        &mut self,
        by: u64,
        index: u64,
        term: u64,
        command: &[u8],
        outcome: &Outcome,
    ) -> Result<Option<Vec<Event>>, super::Violation> {
        let mut hasher = DefaultHasher::new();
        command.hash(&mut hasher);
        let hash = hasher.finish();
        let lost = self.acknowledged.contains(&index);
        let check = if lost { Check::AcknowledgedLost } else { Check::ReplicasDiffer };
        if let Some(fact) = self.facts.get(&index) {
            let same = fact.term == term && fact.command == hash;
            ensure(same, check, || {
                format!(
                    "controller {by} applies another entry at index {index}: of term {term}, not {}",
                    fact.term
                )
            })?;
            ensure(fact.outcome == *outcome, Check::ReplicasDiffer, || {
                format!("controller {by} gets {outcome:?} at index {index}, not {:?}", fact.outcome)
            })?;
            return Ok(None);
        }
        let last = self.last_index();
        ensure(index > last, check, || {
            format!("controller {by} applies a command at index {index}, where others have none")
        })?;
        let Ok(envelope) = decode_command(command, Level::NEWEST) else {
            return Err(super::Violation {
                check: Check::ReplicasDiffer,
                what: format!("the command at index {index} can't be read"),
            });
        };
        let mut state = self.state();
        let (expected, events) = state.execute(&envelope);
        if let Some(request) = envelope.request {
            if let Some((first, answer)) = self.requests.get(&request) {
                ensure(events.is_empty() && *answer == expected, Check::AppliedTwice, || {
                    format!(
                        "request {request:?} of index {first} did {events:?} again at {index}: {answer:?}, {expected:?}"
                    )
                })?;
            } else {
                self.requests.insert(request, (index, expected.clone()));
            }
        }
        ensure(expected == *outcome, Check::ReplicasDiffer, || {
            format!("controller {by} gets {outcome:?} at index {index}, not {expected:?}")
        })?;
        self.commands += 1;
        self.facts.insert(index, Fact { term, command: hash, outcome: expected });
        self.states.push((index, state));
        Ok(Some(events))
    }

    /// A replica shows a state; `whole` asks for a full comparison.
    ///
    /// # Errors
    /// When it isn't the one that follows from the log.
    pub fn published(&self, by: u64, index: u64, state: &State, whole: bool) -> Checked {
        let Some(expected) = self.state_at(index) else { return Ok(()) };
        let parts = |state: &State| {
            let last = state.history().last().map(|record| record.sequence);
            (state.now(), state.task_count(), last, state.services().count(), state.nodes().count())
        };
        ensure(parts(expected) == parts(state), Check::ReplicasDiffer, || {
            format!("controller {by} at index {index}: {:?}, not {:?}", parts(state), parts(expected))
        })?;
        if whole || index.is_multiple_of(COMPARED) {
            ensure(expected == state, Check::ReplicasDiffer, || {
                format!("controller {by} has another state at index {index}")
            })?;
        }
        Ok(())
    }
}
