//! Changes that are not on the disk yet. Of each record only the newest is kept, so that a disk which refuses for long
//! costs no more memory than the records themselves.

use std::collections::BTreeMap;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A task as it was assigned.
    Task(u64),
    /// A task's status.
    Status(u64),
    /// A record of its own.
    Record(&'static str),
}

/// Changes that go to the disk together; nothing removes.
pub(super) type Batch = BTreeMap<Key, Option<Vec<u8>>>;

/// Changes that wait, and how many there have ever been.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Batch,
    put: u64,
}

impl Pending {
    /// Adds changes that must go to the disk together.
    pub(super) fn put(&mut self, changes: impl IntoIterator<Item = (Key, Option<Vec<u8>>)>) {
        self.waiting.extend(changes);
        self.put += 1;
    }

    /// How many times something was put.
    pub(super) fn count(&self) -> u64 {
        self.put
    }

    /// All that waits, and how many puts it covers; nothing, if nothing waits.
    pub(super) fn take(&mut self) -> Option<(Batch, u64)> {
        (!self.waiting.is_empty()).then(|| (std::mem::take(&mut self.waiting), self.put))
    }

    /// A batch could not be written: it waits again, unless something newer does.
    pub(super) fn restore(&mut self, batch: Batch) {
        for (key, value) in batch {
            self.waiting.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_waits_again_behind_what_is_newer() {
        let mut pending = Pending::default();
        pending.put([(Key::Status(1), Some(vec![1])), (Key::Status(2), Some(vec![2]))]);
        let (batch, covered) = pending.take().unwrap();
        assert_eq!((batch.len(), covered), (2, 1));
        pending.put([(Key::Status(1), None)]);
        pending.restore(batch);
        let (batch, covered) = pending.take().unwrap();
        assert_eq!(covered, 2);
        assert_eq!(batch, Batch::from([(Key::Status(1), None), (Key::Status(2), Some(vec![2]))]));
        assert!(pending.take().is_none());
    }
}
