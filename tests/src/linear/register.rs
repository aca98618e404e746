//! What a register does when one operation happens after another: the specification that histories are checked
//! against.

use stateright::semantics::SequentialSpec;
use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
};

use super::history::{Call, Outcome};

/// An operation, with what the checker knows about it besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its place in the register's history.
    pub(super) id: usize,
    pub(super) call: Call,
    /// The version that it made, if anybody saw that.
    pub(super) version: Option<u64>,
}

/// A register with versions that grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Value {
    value: Option<u64>,
    /// `None` after a write whose version nobody saw; it is one that nobody saw ever.
    version: Option<u64>,
    /// The last version that is known; the next is larger.
    floor: u64,
}

impl Value {
    fn set(&mut self, value: u64, version: Option<u64>) -> bool {
        if version.is_some_and(|version| version <= self.floor) {
            return false;
        }
        self.value = Some(value);
        self.version = version;
        self.floor = version.unwrap_or(self.floor);
        true
    }

    /// Whether `call` may end in `outcome` now; does it if so.
    fn step(&mut self, step: &Step, outcome: &Outcome) -> bool {
        match (step.call, outcome) {
            (Call::Read, Outcome::Read { value, version }) => {
                *value == self.value && Some(*version) == self.version
            }
            (Call::Write { value }, Outcome::Done { version }) => self.set(value, Some(*version)),
            (Call::Cas { expected, value }, Outcome::Done { version }) => {
                self.version == Some(expected) && self.set(value, Some(*version))
            }
            (Call::Cas { expected, .. }, Outcome::Conflict) => self.version != Some(expected),
            _ => false,
        }
    }
}

/// Thrown out of the search when it has taken as many steps as it may.
pub(super) struct Exhausted;

/// What the whole search remembers.
#[derive(Debug, Default)]
struct Memory {
    seen: HashSet<(Vec<u64>, Value)>,
    steps: u64,
    most: u64,
}

/// The register during one search. What the search finds again that it has left before it need not enter again: which
/// operations have happened, and what the register holds, is all that decides what can follow. stateright doesn't
/// remember that itself, and would take exponential time to find that a history is wrong.
#[derive(Clone, Debug)]
pub(super) struct Register {
    value: Value,
    happened: Vec<u64>,
    memory: Arc<Mutex<Memory>>,
}

impl Register {
    /// A register that was never set, for a search of at most so many steps.
    pub(super) fn new(most: u64) -> Self {
        let value = Value { version: Some(0), ..Value::default() };
        let memory = Memory { most, ..Memory::default() };
        Register { value, happened: Vec::new(), memory: Arc::new(Mutex::new(memory)) }
    }

    fn mark(&mut self, id: usize) {
        let word = id / 64;
        if self.happened.len() <= word {
            self.happened.resize(word + 1, 0);
        }
        self.happened[word] |= 1 << (id % 64);
    }

    fn count(&self) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.steps += 1;
        if memory.steps > memory.most {
            drop(memory);
            resume_unwind(Box::new(Exhausted));
        }
    }
}

impl PartialEq for Register {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.happened == other.happened
    }
}

impl Eq for Register {}

impl Hash for Register {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
        self.happened.hash(state);
    }
}

impl SequentialSpec for Register {
    type Op = Step;
    type Ret = Outcome;

    /// What nobody got an answer to happens now.
    fn invoke(&mut self, step: &Step) -> Outcome {
        self.count();
        self.mark(step.id);
        match step.call {
            Call::Read => Outcome::Read {
                value: self.value.value,
                version: self.value.version.unwrap_or(self.value.floor),
            },
            Call::Cas { expected, .. } if self.value.version != Some(expected) => Outcome::Conflict,
            Call::Write { value } | Call::Cas { value, .. } => {
                self.value.set(value, step.version);
                Outcome::Unknown
            }
        }
    }

    fn is_valid_step(&mut self, step: &Step, outcome: &Outcome) -> bool {
        self.count();
        if !self.value.step(step, outcome) {
            return false;
        }
        self.mark(step.id);
        let configuration = (self.happened.clone(), self.value.clone());
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).seen.insert(configuration)
    }
}
