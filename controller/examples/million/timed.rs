//! The real state machine, with a clock beside it.

use parking_lot::Mutex;
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use wharf_cluster::state::Outcome;
use wharf_controller::{
    raft::{ApplyError, ConfState, MemberChange, SnapshotDecoder, SnapshotEncoder, StateMachine},
    replica::Replica,
};

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The state was captured for a snapshot, on the replica's thread.
    Captured,
    /// A snapshot was decoded.
    Decoded,
    /// A decoded state was put in force, on the replica's thread.
    Restored,
}

/// What was timed.
#[derive(Default)]
pub struct Timer {
    steps: Mutex<Vec<(Step, Duration)>>,
    bytes: AtomicU64,
}

impl Timer {
    fn time<T>(&self, step: Step, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.steps.lock().push((step, begun.elapsed()));
        result
    }

    pub fn count(&self, step: Step) -> usize {
        self.steps.lock().iter().filter(|(other, _)| *other == step).count()
    }

    pub fn last(&self, step: Step) -> Duration {
        let steps = self.steps.lock();
        steps.iter().rev().find(|(other, _)| *other == step).map(|(_, took)| *took).unwrap_or_default()
    }

    /// The size of the newest snapshot.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

pub fn took(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

pub struct Timed {
    pub replica: Replica,
    pub timer: Arc<Timer>,
}

impl StateMachine for Timed {
    type Output = Outcome;
    type Restored = <Replica as StateMachine>::Restored;

    fn apply(&mut self, index: u64, term: u64, command: &[u8]) -> Result<Outcome, ApplyError> {
        self.replica.apply(index, term, command)
    }

    fn applied_batch(&mut self, applied: u64) {
        self.replica.applied_batch(applied);
    }

    fn membership_changed(&mut self, index: u64, members: &ConfState, changed: &[MemberChange]) {
        self.replica.membership_changed(index, members, changed);
    }

    fn snapshot(&self) -> SnapshotEncoder {
        let encode = self.timer.time(Step::Captured, || self.replica.snapshot());
        let timer = self.timer.clone();
        Box::new(move |to| {
            let mut counted = Counted { to, bytes: 0 };
            encode(&mut counted)?;
            timer.bytes.store(counted.bytes, Ordering::Relaxed);
            Ok(())
        })
    }

    fn decoder(&self) -> SnapshotDecoder<Self::Restored> {
        let (decode, timer) = (self.replica.decoder(), self.timer.clone());
        Box::new(move |from| timer.time(Step::Decoded, || decode(from)))
    }

    fn restore(&mut self, index: u64, state: Self::Restored) {
        self.timer.time(Step::Restored, || self.replica.restore(index, state));
    }
}

struct Counted<'a> {
    to: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
