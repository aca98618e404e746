//! How many bytes may wait somewhere, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may wait. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// Some of a budget; given back when this goes.
#[derive(Debug)]
pub(crate) struct Share {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// Takes so many bytes, if they are there. What is larger than the whole budget gets all of it.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        let bytes = bytes.min(self.limit);
        let fits = |taken: usize| Some(taken + bytes).filter(|sum| *sum <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Share { taken: self.taken.clone(), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_given_back() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let second = budget.take(40).unwrap();
        assert!(budget.clone().take(1).is_none());
        drop((first, second));
        let all = budget.take(1000).unwrap();
        assert!(budget.take(1).is_none());
        drop(all);
        assert!(budget.take(1).is_some());
    }
}
