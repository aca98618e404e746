//! What clients are told: reads are linearizable, and what was acknowledged stands in the log.

use super::{Check, Checked, Reference, ensure};
use wharf_cluster::{
    ids::RequestId,
    state::{Rejected, Reply},
};

/// What clients have been told.
#[derive(Debug, Default)]
pub struct Calls {
    /// The last index that anybody was told of, by a write or a read.
    floor: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads that were answered.
    pub reads: u64,
}

impl Calls {
    /// What a read that begins now has to reflect.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// A client hears that its request was done.
    ///
    /// # Errors
    /// When it wasn't, or something else came of it.
    pub fn done(
        &mut self,
        reference: &mut Reference,
        request: RequestId,
        index: u64,
        reply: Reply,
    ) -> Checked {
        let answer = reference.answer(request);
        let same = answer.is_some_and(|(first, outcome)| *first <= index && *outcome == Ok(reply));
        ensure(same, Check::AcknowledgedLost, || {
            format!("{request:?} is acknowledged with {reply:?} at {index}, but the log has {answer:?}")
        })?;
        reference.acknowledge(index);
        self.floor = self.floor.max(index);
        self.writes += 1;
        Ok(())
    }

    /// A client hears that its request was refused.
    ///
    /// # Errors
    /// When it wasn't.
    pub fn refused(&mut self, reference: &Reference, request: RequestId, why: &Rejected) -> Checked {
        let answer = reference.answer(request);
        let same = answer.is_some_and(|(_, outcome)| outcome.as_ref() == Err(why));
        ensure(same, Check::AcknowledgedLost, || {
            format!("{request:?} is refused with {why}, but the log has {answer:?}")
        })
    }

    /// A client hears what it asked for, when `floor` was the last index that anybody knew of.
    ///
    /// # Errors
    /// When something is missing that had been acknowledged before.
    pub fn read(
        &mut self,
        reference: &Reference,
        floor: u64,
        stack: &str,
        index: u64,
        version: u64,
    ) -> Checked {
        ensure(index >= floor, Check::StaleRead, || {
            format!("a read of stack {stack} reflects index {index}; {floor} was known when it began")
        })?;
        let expected = reference.state_at(index).and_then(|state| state.stack(stack));
        let expected = expected.map_or(0, |stack| stack.version);
        ensure(expected == version, Check::StaleRead, || {
            format!("stack {stack} has version {version} in a read at index {index}, not {expected}")
        })?;
        self.floor = self.floor.max(index);
        self.reads += 1;
        Ok(())
    }
}
