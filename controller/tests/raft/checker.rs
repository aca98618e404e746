//! What must hold at every step, watched from outside all replicas.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use wharf_controller::raft::{
    ApplyError, ConfState, MemberChange, MemberChangeKind, RestoreError, SnapshotDecoder, SnapshotEncoder,
    StateMachine,
};

/// Everything that was ever seen to happen in a cluster.
#[derive(Default)]
pub struct Facts {
    /// What was applied at an index, by whoever was first.
    pub applied: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Where a command was applied.
    pub places: HashMap<Vec<u8>, u64>,
    /// Commands that were confirmed to their proposers.
    pub acknowledged: BTreeMap<u64, Vec<u8>>,
    /// Commands whose proposers were told that they did not happen.
    pub refused: HashSet<Vec<u8>>,
    /// Who led a term.
    pub leaders: HashMap<u64, u64>,
    /// The members after the change at an index.
    pub memberships: BTreeMap<u64, (BTreeSet<u64>, BTreeSet<u64>)>,
    /// Reads that were answered.
    pub reads: usize,
}

impl Facts {
    /// The highest index that anybody was told of.
    pub fn acknowledged_index(&self) -> u64 {
        self.acknowledged.keys().next_back().copied().unwrap_or(0)
    }

    fn apply(&mut self, index: u64, term: u64, command: &[u8]) {
        let entry = (term, command.to_vec());
        let known = self.applied.entry(index).or_insert_with(|| entry.clone());
        assert_eq!(*known, entry, "two replicas differ at index {index}");
        let place = *self.places.entry(entry.1.clone()).or_insert(index);
        assert_eq!(place, index, "a command was applied twice");
        assert!(!self.refused.contains(command), "a command happened that its proposer was told had not");
    }

    pub fn acknowledge(&mut self, index: u64, command: Vec<u8>) {
        assert_eq!(self.applied.get(&index).map(|(_, known)| known), Some(&command));
        self.acknowledged.insert(index, command);
    }

    pub fn refuse(&mut self, command: Vec<u8>) {
        assert!(!self.places.contains_key(&command), "a command had happened already");
        self.refused.insert(command);
    }

    pub fn leads(&mut self, term: u64, id: u64) {
        let known = *self.leaders.entry(term).or_insert(id);
        assert_eq!(known, id, "two leaders in term {term}");
    }
}

/// The facts, shared by all replicas of a simulation.
#[derive(Clone, Default)]
pub struct Checker(Arc<Mutex<Facts>>);

impl Checker {
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        // A failed assertion poisons it; the first failure is the one to see.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a snapshot holds.
#[derive(Default)]
pub struct Restored {
    history: Vec<(u64, u64, Vec<u8>)>,
    contexts: BTreeMap<u64, Vec<u8>>,
}

/// A state machine that remembers all it applied and lets the checker see it.
pub struct Machine {
    checker: Checker,
    pub history: Vec<(u64, u64, Vec<u8>)>,
    pub contexts: BTreeMap<u64, Vec<u8>>,
    pub published: u64,
}

impl Machine {
    pub fn new(checker: Checker) -> Self {
        Self { checker, history: Vec::new(), contexts: BTreeMap::new(), published: 0 }
    }
}

impl StateMachine for Machine {
    type Output = usize;
    type Restored = Restored;

    fn apply(&mut self, index: u64, term: u64, command: &[u8]) -> Result<usize, ApplyError> {
        assert!(self.history.last().is_none_or(|(last, ..)| *last < index), "indexes go backwards");
        self.checker.facts().apply(index, term, command);
        self.history.push((index, term, command.to_vec()));
        Ok(self.history.len())
    }

    fn applied_batch(&mut self, applied: u64) {
        assert!(applied >= self.published);
        self.published = applied;
    }

    fn membership_changed(&mut self, index: u64, members: &ConfState, changed: &[MemberChange]) {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<_>>();
        let now = (set(&members.voters), set(&members.learners));
        let mut facts = self.checker.facts();
        let known = facts.memberships.entry(index).or_insert_with(|| now.clone());
        assert_eq!(*known, now, "two replicas differ in members at index {index}");
        for change in changed {
            match change.kind {
                MemberChangeKind::Removed => drop(self.contexts.remove(&change.id)),
                _ if change.context.is_empty() => {}
                _ => drop(self.contexts.insert(change.id, change.context.clone())),
            }
        }
    }

    fn snapshot(&self) -> SnapshotEncoder {
        let (history, contexts) = (self.history.clone(), self.contexts.clone());
        Box::new(move |to| {
            let mut put = |numbers: [u64; 2], payload: &[u8]| {
                for number in numbers.into_iter().chain([payload.len() as u64]) {
                    to.write_all(&number.to_le_bytes())?;
                }
                to.write_all(payload)
            };
            for (id, context) in &contexts {
                put([0, *id], context)?;
            }
            for (index, term, command) in &history {
                put([*index, *term], command)?;
            }
            Ok(())
        })
    }

    fn decoder(&self) -> SnapshotDecoder<Restored> {
        Box::new(|from| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).map_err(|error| RestoreError(error.to_string()))?;
            let (mut rest, mut restored) = (&bytes[..], Restored::default());
            let take = |rest: &mut &[u8], len: usize| {
                let (head, tail) = rest.split_at_checked(len).ok_or(RestoreError("too short".into()))?;
                *rest = tail;
                Ok(head.to_vec())
            };
            while !rest.is_empty() {
                let mut number = || Ok(u64::from_le_bytes(take(&mut rest, 8)?.try_into().unwrap()));
                let (first, second, len) = (number()?, number()?, number()?);
                let payload = take(&mut rest, len as usize)?;
                if first == 0 {
                    restored.contexts.insert(second, payload);
                } else {
                    restored.history.push((first, second, payload));
                }
            }
            Ok(restored)
        })
    }

    fn restore(&mut self, index: u64, state: Restored) {
        let Restored { history, contexts } = state;
        let mut facts = self.checker.facts();
        for (index, term, command) in &history {
            facts.apply(*index, *term, command);
        }
        assert!(history.last().is_none_or(|(last, ..)| *last <= index));
        let known = facts.applied.range(..=index).count();
        assert_eq!(known, history.len(), "a snapshot lacks something that was applied");
        drop(facts);
        (self.history, self.contexts) = (history, contexts);
    }
}
