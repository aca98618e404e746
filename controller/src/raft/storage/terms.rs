//! Which term each index of the log has, as runs: a log of millions of entries has few terms, so
//! asking for a term never needs the disk.

use std::collections::VecDeque;

/// Terms by index, for a log without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TermRuns {
    /// (first index, term), both growing.
    runs: VecDeque<(u64, u64)>,
}

impl TermRuns {
    pub(crate) fn new(runs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self { runs: runs.into_iter().collect() }
    }

    /// The term at `index`, which the caller knows to be inside the log.
    pub(crate) fn get(&self, index: u64) -> Option<u64> {
        let after = self.runs.partition_point(|(first, _)| *first <= index);
        after.checked_sub(1).and_then(|run| self.runs.get(run)).map(|(_, term)| *term)
    }

    /// Appends the entry that follows the last.
    pub(crate) fn push(&mut self, index: u64, term: u64) {
        if self.runs.back().is_none_or(|(_, last)| *last != term) {
            self.runs.push_back((index, term));
        }
    }

    /// Forgets everything from `index` on.
    pub(crate) fn truncate(&mut self, index: u64) {
        while self.runs.back().is_some_and(|(first, _)| *first >= index) {
            self.runs.pop_back();
        }
    }

    /// Forgets everything up to and including `index`.
    pub(crate) fn compact(&mut self, index: u64) {
        while self.runs.get(1).is_some_and(|(first, _)| *first <= index + 1) {
            self.runs.pop_front();
        }
        if let Some(front) = self.runs.front_mut() {
            front.0 = front.0.max(index + 1);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(u64),
        Truncate(u64),
        Compact(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u64..3).prop_map(Step::Push),
            1 => (0u64..30).prop_map(Step::Truncate),
            1 => (0u64..30).prop_map(Step::Compact),
        ]
    }

    proptest! {
        #[test]
        fn runs_agree_with_a_plain_list(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut runs, mut list, mut term) = (TermRuns::default(), VecDeque::new(), 1);
            let mut first = 1u64;
            for step in steps {
                let next = first + list.len() as u64;
                match step {
                    Step::Push(up) => {
                        term += up / 2;
                        runs.push(next, term);
                        list.push_back(term);
                    }
                    Step::Truncate(at) if at >= first && at < next => {
                        runs.truncate(at);
                        list.truncate((at - first) as usize);
                    }
                    Step::Compact(at) if at >= first && at < next => {
                        runs.compact(at);
                        list.drain(..=(at - first) as usize);
                        first = at + 1;
                    }
                    Step::Truncate(_) | Step::Compact(_) => {}
                }
                for (offset, term) in list.iter().enumerate() {
                    prop_assert_eq!(runs.get(first + offset as u64), Some(*term));
                }
            }
        }
    }
}
