//! Judges histories: each register on its own, for a history is linearizable if that of every register is.

use super::{
    history::{Call, History, Operation, Outcome},
    register::{Exhausted, Register, Step},
};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

/// Steps of one search; a good history of some hundred operations takes some thousand.
const MOST_STEPS: u64 = 2_000_000;
/// stateright's search goes one call deeper with each operation.
const STACK: usize = 256 << 20;

/// What is said of a register's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order in which everything could have happened.
    Linearizable,
    /// There is none; the reason, or the operations up to the first that can't be.
    Violated(String),
    /// The search took too many steps.
    Undecided,
}

/// An operation, and the version that it made if anybody saw that.
type Seen = (Operation, Option<u64>);

/// A history of one register, ready for the search.
#[derive(Default)]
struct Prepared {
    /// What has an answer.
    answered: Vec<Seen>,
    /// Writes that may or may not have happened.
    open: Vec<Seen>,
}

impl Prepared {
    fn verdict(&self) -> Verdict {
        // What was never seen need not have happened; only if that leads nowhere may it have.
        match decide(&self.answered, &[]) {
            Verdict::Violated(_) if !self.open.is_empty() => decide(&self.answered, &self.open),
            verdict => verdict,
        }
    }

    /// What was known at a moment: writes under way then are open.
    fn until(&self, moment: u64) -> Prepared {
        let mut known = Prepared::default();
        for (operation, version) in self.answered.iter().chain(&self.open) {
            if operation.outcome != Outcome::Unknown && operation.end <= moment {
                known.answered.push((operation.clone(), *version));
            } else if operation.start < moment
                && matches!(operation.outcome, Outcome::Done { .. } | Outcome::Unknown)
            {
                known.open.push((operation.clone(), *version));
            }
        }
        known
    }

    /// The shortest beginning that is wrong already: it tells people more than the whole does.
    fn shortest_wrong(&self) -> Prepared {
        let mut ends: Vec<u64> = self.answered.iter().map(|(operation, _)| operation.end).collect();
        ends.sort_unstable();
        let good = ends.partition_point(|end| !matches!(self.until(*end).verdict(), Verdict::Violated(_)));
        self.until(ends.get(good).or(ends.last()).copied().unwrap_or(0))
    }
}

/// Judges the history of one register.
///
/// # Panics
/// When the search itself fails.
#[must_use]
pub fn check(operations: &[&Operation]) -> Verdict {
    let prepared = match prepare(operations) {
        Ok(prepared) => prepared,
        Err(reason) => return Verdict::Violated(reason),
    };
    match prepared.verdict() {
        Verdict::Violated(_) => Verdict::Violated(tell(&prepared.shortest_wrong())),
        verdict => verdict,
    }
}

/// Judges every register of a history and tells all that is wrong; an undecided one is wrong too.
///
/// # Errors
/// What is wrong.
pub fn judge(history: &History) -> Result<(), String> {
    let mut wrong = String::new();
    for (key, operations) in history.by_key() {
        match check(&operations) {
            Verdict::Linearizable => {}
            Verdict::Violated(reason) => {
                let _ = writeln!(wrong, "register {key} is not linearizable:\n{reason}");
            }
            Verdict::Undecided => {
                let _ = writeln!(
                    wrong,
                    "register {key}: not decided within {MOST_STEPS} steps ({} operations); use fewer a register",
                    operations.len()
                );
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Finds which version each value got. A write without an answer whose value was seen did happen, and before the first
/// who saw it was told: so it gets an answer. Reads that failed, and what did not happen, say nothing.
fn prepare(operations: &[&Operation]) -> Result<Prepared, String> {
    let mut versions: HashMap<u64, u64> = HashMap::new();
    let mut values: HashMap<u64, u64> = HashMap::new();
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for operation in operations {
        let (value, version) = match (operation.call, operation.outcome) {
            (Call::Read, Outcome::Read { value: Some(value), version }) => {
                let first = seen.entry(value).or_insert(operation.end);
                *first = (*first).min(operation.end);
                (value, version)
            }
            (Call::Write { value } | Call::Cas { value, .. }, Outcome::Done { version }) => (value, version),
            _ => continue,
        };
        let version_of = *versions.entry(value).or_insert(version);
        let value_of = *values.entry(version).or_insert(value);
        if version_of != version || value_of != value {
            return Err(format!(
                "value {value} has version {version}, but also: value {value} version {version_of}, value \
                 {value_of} version {version}\n{}",
                line(operation)
            ));
        }
    }
    let mut prepared = Prepared::default();
    for operation in operations {
        match (operation.call, operation.outcome) {
            (_, Outcome::Failed) | (Call::Read, Outcome::Unknown) => {}
            (Call::Write { value } | Call::Cas { value, .. }, Outcome::Unknown) => {
                let mut operation = Operation::clone(operation);
                match (versions.get(&value), seen.get(&value)) {
                    (Some(version), Some(first)) => {
                        if *first <= operation.start {
                            let reason = format!("{}\nwas seen before it was asked", line(&operation));
                            return Err(reason);
                        }
                        operation.outcome = Outcome::Done { version: *version };
                        operation.end = *first;
                        prepared.answered.push((operation, Some(*version)));
                    }
                    _ => prepared.open.push((operation, None)),
                }
            }
            (_, outcome) => {
                let version = match outcome {
                    Outcome::Done { version } => Some(version),
                    _ => None,
                };
                prepared.answered.push((Operation::clone(operation), version));
            }
        }
    }
    Ok(prepared)
}

/// Searches an order. Runs on a thread with room for the search's depth.
fn decide(answered: &[Seen], open: &[Seen]) -> Verdict {
    thread::scope(|scope| {
        let search = || {
            let tester = tester(answered, open);
            let found = catch_unwind(AssertUnwindSafe(|| tester.serialized_history().is_some()));
            match found {
                Ok(true) => Verdict::Linearizable,
                Ok(false) => Verdict::Violated(String::new()),
                Err(thrown) if thrown.is::<Exhausted>() => Verdict::Undecided,
                Err(thrown) => resume_unwind(thrown),
            }
        };
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, search);
        thread.expect("a thread can be started").join().expect("the search doesn't fail")
    })
}

/// One end of one operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Call,
    Return,
}

/// The history as stateright wants it: calls and returns in the order of time.
fn tester(answered: &[Seen], open: &[Seen]) -> LinearizabilityTester<usize, Register> {
    let mut edges: Vec<(u64, Edge, usize)> = Vec::new();
    for (id, (operation, _)) in answered.iter().enumerate() {
        edges.push((operation.start, Edge::Call, id));
        edges.push((operation.end, Edge::Return, id));
    }
    for (index, (operation, _)) in open.iter().enumerate() {
        edges.push((operation.start, Edge::Call, answered.len() + index));
    }
    // Of the same moment nobody knows the order: then they are taken as concurrent, which forbids less.
    edges.sort_unstable();
    let mut tester = LinearizabilityTester::new(Register::new(MOST_STEPS));
    // A client whose open operation was given an end may have gone on before that: threads are handed out anew.
    let mut threads: BTreeMap<usize, usize> = BTreeMap::new();
    let mut idle: Vec<usize> = Vec::new();
    let mut next = 0;
    for (_, edge, id) in edges {
        match edge {
            Edge::Call => {
                let thread = idle.pop().unwrap_or_else(|| {
                    next += 1;
                    next
                });
                threads.insert(id, thread);
                let (operation, version) = answered.get(id).unwrap_or_else(|| &open[id - answered.len()]);
                let (call, version) = (operation.call, *version);
                tester.on_invoke(thread, Step { id, call, version }).expect("a thread calls when it is idle");
            }
            Edge::Return => {
                let thread = threads[&id];
                let outcome = answered[id].0.outcome;
                tester.on_return(thread, outcome).expect("a thread returns after its call");
                idle.push(thread);
            }
        }
    }
    tester
}

fn tell(wrong: &Prepared) -> String {
    /// Older operations are in the exported history.
    const SHOWN: usize = 25;
    let mut all: Vec<&Operation> =
        wrong.answered.iter().chain(&wrong.open).map(|(operation, _)| operation).collect();
    all.sort_by_key(|operation| operation.start);
    let lines: Vec<String> =
        all[all.len().saturating_sub(SHOWN)..].iter().map(|operation| line(operation)).collect();
    format!("up to here ({} operations), the last of them:\n{}", all.len(), lines.join("\n"))
}

#[expect(clippy::cast_precision_loss, reason = "times for people")]
fn line(operation: &Operation) -> String {
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    format!(
        "  {:>10.3} ms to {:>10.3} ms  client {:>3} at c{}  {:?} -> {:?}",
        milliseconds(operation.start),
        milliseconds(operation.end),
        operation.client,
        operation.controller + 1,
        operation.call,
        operation.outcome
    )
}

#[cfg(test)]
mod tests;
