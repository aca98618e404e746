//! Linearizable reads: everybody who asks while a round is under way shares the next one.

use std::collections::VecDeque;

use ::raft::{RawNode, StateRole};
use wharf_cluster::planted::{self, Bug};

use crate::raft::reply::{ReadError, Reply};
use crate::raft::storage::{LogView, Store};

/// Readers that may wait for the next round.
const MAX_WAITING: usize = 1 << 16;

struct Reader {
    deadline: u64,
    reply: Reply<Result<u64, ReadError>>,
}

struct Round {
    sequence: u64,
    started: u64,
    leader: u64,
    readers: Vec<Reader>,
}

/// Readers in the three stages of a read.
pub(super) struct Reads {
    id: u64,
    incarnation: u64,
    patience: u64,
    sequence: u64,
    now: u64,
    waiting: Vec<Reader>,
    round: Option<Round>,
    confirmed: VecDeque<(u64, Vec<Reader>)>,
}

impl Reads {
    /// `election_ticks` is how long a cluster may well be without a leader.
    pub(super) fn new(id: u64, incarnation: u64, election_ticks: u64) -> Self {
        Self {
            id,
            incarnation,
            patience: 4 * election_ticks,
            sequence: 0,
            now: 0,
            waiting: Vec::new(),
            round: None,
            confirmed: VecDeque::new(),
        }
    }

    pub(super) fn request(&mut self, now: u64, reply: Reply<Result<u64, ReadError>>) {
        if self.waiting.len() >= MAX_WAITING {
            reply(Err(ReadError::Overloaded));
            return;
        }
        self.waiting.push(Reader { deadline: now + self.patience, reply });
    }

    /// Starts a round if somebody waits for one and there is a leader to ask.
    pub(super) fn start<D: Store>(&mut self, raw: &mut RawNode<LogView<D>>) {
        let raft = &raw.raft;
        if self.round.as_ref().is_some_and(|round| round.leader != raft.leader_id) {
            self.abandon();
        }
        if self.round.is_some() || self.waiting.is_empty() || raft.leader_id == 0 {
            return;
        }
        // A leader that has committed nothing in its own term doesn't know yet what is committed.
        if raft.state == StateRole::Leader && !raft.commit_to_current_term() {
            return;
        }
        if planted::is(Bug::ReadUnconfirmed) {
            self.confirmed.push_back((raft.raft_log.committed, std::mem::take(&mut self.waiting)));
            return;
        }
        self.sequence += 1;
        let round = Round {
            sequence: self.sequence,
            started: self.now,
            leader: raft.leader_id,
            readers: std::mem::take(&mut self.waiting),
        };
        let context = self.context(round.sequence);
        self.round = Some(round);
        raw.read_index(context);
    }

    /// Unique over restarts: an answer meant for an earlier life must not confirm a read of this one.
    fn context(&self, sequence: u64) -> Vec<u8> {
        [self.id, self.incarnation, sequence].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// A quorum has confirmed that `index` was committed when the round with `context` started.
    pub(super) fn confirm(&mut self, context: &[u8], index: u64) {
        let Some(sequence) = self.round.as_ref().map(|round| round.sequence) else { return };
        if self.context(sequence) != context {
            return;
        }
        if let Some(round) = self.round.take() {
            self.confirmed.push_back((index, round.readers));
        }
    }

    /// Answers everybody who waits for an index that is applied by now.
    pub(super) fn release(&mut self, applied: u64) {
        // Confirmed indexes can't go back: each was the highest committed when its round started.
        let done = self.confirmed.partition_point(|(index, _)| *index <= applied);
        for reader in self.confirmed.drain(..done).flat_map(|(_, readers)| readers) {
            (reader.reply)(Ok(applied));
        }
    }

    /// Asks again when no answer came, and gives up on those who waited too long.
    pub(super) fn tick(&mut self, now: u64, leader: Option<u64>) {
        self.now = now;
        let retry = (self.patience / 16).max(2);
        if self.round.as_ref().is_some_and(|round| round.started + retry <= now) {
            self.abandon();
        }
        let late = |reader: &mut Reader| reader.deadline <= now;
        let mut expired: Vec<_> = self.waiting.extract_if(.., late).collect();
        for (_, readers) in &mut self.confirmed {
            expired.extend(readers.extract_if(.., late));
        }
        for reader in expired {
            (reader.reply)(Err(ReadError::NoQuorum { leader }));
        }
    }

    fn abandon(&mut self) {
        if let Some(round) = self.round.take() {
            let newer = std::mem::replace(&mut self.waiting, round.readers);
            self.waiting.extend(newer);
        }
    }
}
