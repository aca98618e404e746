//! What agents report, proposed in batches: while one is under way, the next one fills. Reports are acknowledged when
//! they are committed, and not before.

use super::{super::Ended, session::Session, term::Term};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::mpsc;
use wharf_cluster::command::{Command, TaskReport};

/// Agents' messages that one proposal carries.
const MESSAGES: usize = 1024;
/// About how large a proposal may grow.
const BYTES: usize = 1 << 20;
/// About how large a report is, without its text.
const REPORT_BYTES: usize = 200;

/// One message of an agent.
pub(super) struct Reported {
    pub(super) session: Arc<Session>,
    pub(super) sequence: u64,
    pub(super) reports: Vec<TaskReport>,
}

impl Reported {
    fn bytes(&self) -> usize {
        self.reports.iter().map(|report| REPORT_BYTES + report.message.len()).sum()
    }
}

pub(super) async fn run(term: Arc<Term>, mut queue: mpsc::Receiver<Reported>) -> Ended {
    let mut waiting: VecDeque<Reported> = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let mut received = Vec::new();
            queue.recv_many(&mut received, MESSAGES).await;
            waiting.extend(received);
        }
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(next) = waiting.front()
            && (batch.is_empty() || bytes + next.bytes() <= BYTES)
        {
            bytes += next.bytes();
            batch.extend(waiting.pop_front());
        }
        let mut reports = Vec::new();
        let mut taken = Vec::with_capacity(batch.len());
        for reported in batch {
            reports.extend(reported.reports);
            taken.push((reported.session, reported.sequence));
        }
        if !reports.is_empty() {
            term.core.proposer.insist(Command::ReportTasks { reports }).await?;
        }
        for (session, sequence) in taken {
            session.taken(sequence);
        }
    }
}
