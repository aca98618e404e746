//! What agents report, in batches: while one is being committed, the next one fills. Reports are acknowledged when they
//! are committed, and not before.

use super::SessionKey;
use std::collections::VecDeque;
use wharf_cluster::command::TaskReport;

/// About how large a proposal may grow.
const BATCH: usize = 1 << 20;
/// About how much may wait; then agents have to.
const WAITING: usize = 16 << 20;
/// About how large a report is, without its text.
const REPORT: usize = 200;

/// One message of an agent.
#[derive(Debug)]
struct Message {
    session: SessionKey,
    sequence: u64,
    reports: Vec<TaskReport>,
    bytes: usize,
}

/// Reports that wait to be proposed, or to be committed.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: VecDeque<Message>,
    bytes: usize,
    proposed: Option<Vec<(SessionKey, u64)>>,
}

impl Reports {
    pub(super) fn has_room(&self) -> bool {
        self.bytes < WAITING
    }

    pub(super) fn push(&mut self, session: SessionKey, sequence: u64, reports: Vec<TaskReport>) {
        let bytes = REPORT + reports.iter().map(|report| REPORT + report.message.len()).sum::<usize>();
        self.bytes += bytes;
        self.waiting.push_back(Message { session, sequence, reports, bytes });
    }

    /// Whether [`Reports::propose`] has something to give.
    pub(super) fn is_due(&self) -> bool {
        self.proposed.is_none() && !self.waiting.is_empty()
    }

    /// The next batch, unless one is being committed. Its reports may be none.
    pub(super) fn propose(&mut self) -> Option<Vec<TaskReport>> {
        if !self.is_due() {
            return None;
        }
        let (mut bytes, mut reports, mut acknowledged) = (0, Vec::new(), Vec::new());
        while self.waiting.front().is_some_and(|next| bytes == 0 || bytes + next.bytes <= BATCH)
            && let Some(next) = self.waiting.pop_front()
        {
            bytes += next.bytes;
            reports.extend(next.reports);
            acknowledged.push((next.session, next.sequence));
        }
        self.bytes -= bytes;
        self.proposed = Some(acknowledged);
        Some(reports)
    }

    /// The batch was committed: what is to be acknowledged to whom.
    pub(super) fn applied(&mut self) -> Vec<(SessionKey, u64)> {
        self.proposed.take().unwrap_or_default()
    }
}
