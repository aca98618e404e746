//! One replica without I/O, clock or threads: requests, messages, ticks and finished writes go in,
//! [`Effects`] come out. The driver hosts it on a thread with a disk and a network; tests host many
//! of them in one, and decide what is slow, lost or torn.
//!
//! What keeps it safe:
//! - Whatever a follower or candidate says, it says after everything before it is durable. A leader
//!   sends entries while it writes them itself, but only once its term is durable.
//! - A committed membership change is applied after the commit index that covers it is durable, so
//!   that a restart can't bring an older set of members back and let it elect a second leader.
//! - Writes are acknowledged in the order in which they were handed out.

mod apply;
mod effects;
mod membership;
mod pending;
mod proposals;
mod reads;
mod ready;
mod room;
mod snapshots;
mod transfer;

use std::sync::Arc;

use ::raft::eraftpb::{ConfState, Entry, Message, MessageType};
use ::raft::{RawNode, SnapshotStatus, StateRole};

use super::config::RaftConfig;
use super::logger::logger;
use super::reply::{Applied, ProposeError, ReadError, Reply};
use super::state_machine::{RestoreError, StateMachine};
use super::status::{PeerProgress, PeerState, RaftStatus};
use super::storage::{LogView, Store, StoreError};

pub use effects::{Effects, RestoreJob, Restored, SendSnapshot, SnapshotJob, Write};
pub use membership::MembershipRequest;

use apply::ApplyQueue;
use pending::PendingWrites;
use proposals::Proposals;
use reads::Reads;
use room::Room;
use snapshots::Snapshots;
use transfer::Transfer;

/// A failure after which the replica can't go on.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store belongs to another replica.
    #[error("the raft log belongs to controller {found}, but this is controller {expected}")]
    WrongId {
        /// The id in the store.
        found: u64,
        /// The configured id.
        expected: u64,
    },
    /// The state machine doesn't understand a snapshot.
    #[error("the snapshot at index {index} can't be restored: {source}")]
    Restore {
        /// The index that it covers.
        index: u64,
        /// Why not.
        source: RestoreError,
    },
    /// raft-rs refuses what it is given.
    #[error("raft can't start: {0}")]
    Raft(#[from] ::raft::Error),
    /// A committed entry makes no sense.
    #[error("entry {index} of the log can't be applied: {reason}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why not.
        reason: String,
    },
}

/// Why a message was not stepped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It is for another replica.
    #[error("a message for controller {0} came here")]
    NotForThis(u64),
    /// The leader believes that this replica holds more than it does.
    #[error(
        "the leader counts on entry {expected}, but this log ends at {last}: the disk was lost or an old copy \
         restored; remove this controller and join it again with an empty data directory"
    )]
    LogLost {
        /// What the leader believes to be here.
        expected: u64,
        /// What is here.
        last: u64,
    },
    /// A follower claims to hold entries that the leader never wrote.
    #[error("controller {from} acknowledges entry {index}, but the log ends at {last}")]
    BeyondLog {
        /// The follower.
        from: u64,
        /// What it claims.
        index: u64,
        /// What there is.
        last: u64,
    },
}

/// One replica.
pub struct RaftCore<S: StateMachine, D: Store> {
    raw: RawNode<LogView<D>>,
    machine: S,
    config: RaftConfig,
    now: u64,
    applied: u64,
    published: u64,
    members: ConfState,
    pending: PendingWrites,
    queue: ApplyQueue<S::Output>,
    proposals: Proposals<S::Output>,
    reads: Reads,
    snapshots: Snapshots,
    transfer: Transfer,
    room: Room,
    out: Effects<S>,
}

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Starts from what `store` holds: restores the snapshot into `machine` at once; the entries
    /// after it are applied by the first [`RaftCore::poll`].
    ///
    /// # Errors
    /// When the store is empty, damaged or another replica's, or its snapshot can't be restored.
    pub fn new(config: RaftConfig, store: Arc<D>, mut machine: S) -> Result<Self, CoreError> {
        let loaded = store.load(config.cache_bytes)?;
        if loaded.id != config.id {
            return Err(CoreError::WrongId { found: loaded.id, expected: config.id });
        }
        let (mut applied, mut snapshot_bytes) = (0, 0);
        if let Some(record) = &loaded.snapshot {
            let job = RestoreJob::<S> { record: record.clone(), decode: machine.decoder() };
            machine.restore(record.index, job.run(&*store).result?);
            (applied, snapshot_bytes) = (record.index, record.bytes);
        }
        let members = loaded.snapshot.as_ref().map(|record| record.conf_state.clone()).unwrap_or_default();
        let incarnation = loaded.incarnation;
        let view = LogView::new(store, loaded, config.cache_bytes);
        let durable_commit = view.hard_state().commit;
        let raw = RawNode::new(&config.to_raft(applied), view, &logger())?;
        Ok(Self {
            reads: Reads::new(config.id, incarnation, config.election_ticks as u64),
            raw,
            machine,
            now: 0,
            applied,
            published: 0,
            members,
            pending: PendingWrites::new(durable_commit),
            queue: ApplyQueue::default(),
            proposals: Proposals::default(),
            snapshots: Snapshots::new(snapshot_bytes),
            transfer: Transfer::default(),
            room: Room::default(),
            out: Effects::default(),
            config,
        })
    }

    /// Time passes.
    pub fn tick(&mut self) {
        self.now += 1;
        if self.may_campaign() {
            self.raw.tick();
        }
        self.urge_successor();
        self.reads.tick(self.now, self.leader());
        self.proposals.expire(self.now);
        self.transfer.expire(self.now);
    }

    /// Whether raft may start an election now, if it wants to. Two things that it takes for granted
    /// don't hold while writes are under way: that a sole voter, who elects itself without asking
    /// anybody, has a durable log, and that a snapshot in the log has been applied.
    fn may_campaign(&self) -> bool {
        let alone = self.raw.raft.prs().is_singleton();
        let waits = (alone && !self.pending.is_empty()) || self.installs();
        self.raw.raft.state == StateRole::Leader || !waits
    }

    /// Takes a message from another replica, decoded by [`message::decode`](super::message::decode).
    ///
    /// # Errors
    /// When raft could not take it without breaking.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        if message.to != self.config.id {
            return Err(StepError::NotForThis(message.to));
        }
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        if message.term >= raft.term {
            let (from, index, expected) = (message.from, message.index, message.commit);
            match message.get_msg_type() {
                MessageType::MsgHeartbeat if expected > last => {
                    return Err(StepError::LogLost { expected, last });
                }
                MessageType::MsgAppendResponse if !message.reject && index > last => {
                    return Err(StepError::BeyondLog { from, index, last });
                }
                MessageType::MsgTimeoutNow if !self.may_campaign() => return Ok(()),
                _ => {}
            }
        }
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(%error, "raft dropped a message");
        }
        Ok(())
    }

    /// Proposes commands, as one run of entries.
    pub fn propose(&mut self, commands: Vec<(Vec<u8>, ProposeReply<S::Output>)>) {
        if commands.is_empty() {
            return;
        }
        if let Err(error) = self.may_propose().and_then(|()| self.room.check()) {
            commands.into_iter().for_each(|(_, reply)| reply(Err(error.clone())));
            return;
        }
        let (entries, replies): (Vec<_>, Vec<_>) =
            commands.into_iter().map(|(data, reply)| (Entry { data, ..Entry::default() }, reply)).unzip();
        match self.append(entries) {
            Ok((first, term)) => {
                for (index, reply) in (first..).zip(replies) {
                    self.proposals.register(index, term, reply.into());
                }
            }
            Err(error) => replies.into_iter().for_each(|reply| reply(Err(error.clone()))),
        }
    }

    fn may_propose(&self) -> Result<(), ProposeError> {
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if let Some(successor) = self.raw.raft.lead_transferee {
            return Err(ProposeError::NotLeader { leader: Some(successor) });
        }
        Ok(())
    }

    /// Appends entries as leader; returns the first one's index and the term.
    fn append(&mut self, entries: Vec<Entry>) -> Result<(u64, u64), ProposeError> {
        let raft = &mut self.raw.raft;
        let (first, term) = (raft.raft_log.last_index() + 1, raft.term);
        let message = Message {
            msg_type: MessageType::MsgPropose as i32,
            from: self.config.id,
            entries,
            ..Message::default()
        };
        // What else could make raft drop a proposal was ruled out by `may_propose`.
        raft.step(message).map_err(|_| ProposeError::Overloaded)?;
        Ok((first, term))
    }

    /// Asks for a linearizable read: the answer comes when this replica has applied everything that
    /// was committed before the request.
    pub fn read(&mut self, reply: Reply<Result<u64, ReadError>>) {
        self.reads.request(self.now, reply);
    }

    /// The transport lost messages to a peer.
    pub fn report_unreachable(&mut self, peer: u64) {
        self.raw.report_unreachable(peer);
    }

    /// A snapshot arrived at a peer, or did not.
    pub fn report_snapshot(&mut self, peer: u64, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(peer, status);
    }

    /// The leader that this replica knows.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|id| *id != 0)
    }

    /// The state machine.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// The replica's state.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let raft = &self.raw.raft;
        let view = raft.store();
        let leads = raft.state == StateRole::Leader;
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        let peers = raft.prs().iter().filter(|(id, _)| leads && **id != self.config.id);
        RaftStatus {
            id: self.config.id,
            term: raft.term,
            leader: self.leader(),
            role: raft.state.into(),
            leading: leads && raft.apply_to_current_term(),
            commit: raft.raft_log.committed,
            applied: self.published,
            first_index: raft.raft_log.first_index(),
            last_index: raft.raft_log.last_index(),
            snapshot_index: view.snapshot_index(),
            voters: sorted(&self.members.voters),
            voters_outgoing: sorted(&self.members.voters_outgoing),
            learners: sorted(&self.members.learners),
            peers: peers.map(|(id, progress)| (*id, progress.into())).collect(),
            failed: None,
        }
    }
}

/// Where a proposal's answer goes.
pub type ProposeReply<T> = Reply<Result<Applied<T>, ProposeError>>;

impl From<&::raft::Progress> for PeerProgress {
    fn from(progress: &::raft::Progress) -> Self {
        let state = match progress.state {
            ::raft::ProgressState::Probe => PeerState::Probe,
            ::raft::ProgressState::Replicate => PeerState::Replicate,
            ::raft::ProgressState::Snapshot => PeerState::Snapshot,
        };
        Self { matched: progress.matched, state, active: progress.recent_active }
    }
}
