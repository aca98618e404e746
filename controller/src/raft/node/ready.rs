//! Turning what raft has ready into effects, in the order that keeps it safe.

use ::raft::eraftpb::{Message, MessageType};
use ::raft::{Ready, StateRole};
use wharf_cluster::planted::{self, Bug};

use super::pending::PendingWrite;
use super::{CoreError, Effects, RaftCore, SendSnapshot, Write};
use crate::raft::state_machine::StateMachine;
use crate::raft::storage::{Batch, Position, Store, encode_entry};

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Works off everything that follows from the inputs so far: applies what is committed, answers
    /// who waits for it, and returns what the host has to do. When [`RaftCore::has_backlog`] says so, the
    /// host calls it again soon.
    ///
    /// # Errors
    /// When the replica can't go on.
    pub fn poll(&mut self) -> Result<Effects<S>, CoreError> {
        loop {
            self.reads.start(&mut self.raw);
            self.check_reads()?;
            while self.raw.has_ready() {
                let ready = self.raw.ready();
                self.check_reads()?;
                self.handle(ready);
            }
            self.apply_committed()?;
            if !self.raw.has_ready() {
                break;
            }
        }
        self.out.discard.extend(self.snapshots.refused());
        self.publish();
        self.start_snapshot();
        self.start_restore();
        Ok(std::mem::take(&mut self.out))
    }

    /// Stops before anything comes of a log that could not be read.
    fn check_reads(&self) -> Result<(), CoreError> {
        self.raw.store().take_failure().map_or(Ok(()), |error| Err(error.into()))
    }

    fn handle(&mut self, mut ready: Ready) {
        if let Some(state) = ready.ss() {
            let (leads, leader) = (state.raft_state == StateRole::Leader, state.leader_id);
            if !leads {
                self.proposals.leadership_lost(self.now + 4 * self.config.election_ticks as u64);
            }
            self.transfer.leader_changed(leader);
        }
        for state in ready.take_read_states() {
            self.reads.confirm(&state.request_ctx, state.index);
        }
        let number = ready.number();
        let committed = ready.take_committed_entries();
        let (now, later) = (ready.take_messages(), ready.take_persisted_messages());
        let write = self.stage(&mut ready);
        self.raw.advance_append_async(ready);
        match write {
            Some((write, batch)) => {
                self.push_write(PendingWrite { ready: Some(number), ..write }, batch);
            }
            None => match self.pending.last() {
                // Acknowledged together with the write before it.
                Some(write) => write.ready = Some(number),
                None => self.raw.on_persist_ready(number),
            },
        }
        // raft-rs lets a leader send while it writes. That is sound once its term is durable; a
        // sole voter, though, leads as soon as it likes, and were it to crash before its term is
        // durable, it would use the same term again for other entries.
        if self.pending.has_new_term() {
            self.send_when_durable(now);
        } else {
            self.send(now);
        }
        self.send_when_durable(later);
        self.queue.extend(committed);
    }

    /// Brings the log in memory up to date and says what has to be written, if anything must be.
    fn stage(&mut self, ready: &mut Ready) -> Option<(PendingWrite, Batch)> {
        let must_write = ready.must_sync();
        let (entries, snapshot) = (ready.take_entries(), ready.snapshot().clone());
        let mut write = PendingWrite::default();
        if let Some(state) = ready.hs() {
            let view = self.raw.mut_store();
            let old = view.hard_state();
            write.new_term = old.term != state.term || old.vote != state.vote;
            view.set_hard_state(state.clone());
        }
        if planted::is(Bug::VoteForgotten) {
            self.raw.raft.vote = 0;
        }
        if !must_write {
            return None;
        }
        let mut batch = Batch::default();
        if !snapshot.is_empty() {
            // Only what came through `step_snapshot` gets here, and its record is kept there.
            let record = self.snapshots.take_arrived(&snapshot);
            self.raw.mut_store().install(record.clone());
            self.queue.clear();
            batch.compact = Some(Position { index: record.index, term: record.term });
            batch.reset = true;
            batch.snapshot = Some(record.clone());
            write.install = Some(record);
        }
        batch.entries = entries.iter().map(encode_entry).collect();
        write.first_entry = entries.first().map(|entry| entry.index);
        let view = self.raw.mut_store();
        view.append(entries);
        batch.hard_state = view.hard_state().clone();
        write.commit = batch.hard_state.commit;
        Some((write, batch))
    }

    pub(super) fn push_write(&mut self, write: PendingWrite, batch: Batch) {
        let id = self.pending.push(write);
        self.out.writes.push(Write { id, batch });
    }

    fn send_when_durable(&mut self, messages: Vec<Message>) {
        match self.pending.last() {
            Some(write) if !planted::is(Bug::SentBeforeDurable) => write.messages.extend(messages),
            _ => self.send(messages),
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for mut message in messages {
            if message.get_msg_type() != MessageType::MsgSnapshot {
                self.out.messages.push(message);
                continue;
            }
            // The bytes stay on disk and travel in chunks.
            let slot = std::mem::take(&mut message.mut_snapshot().data);
            let to = message.to;
            let record = self.raw.store().snapshot_record();
            match record.filter(|record| record.slot.to_le_bytes() == *slot) {
                Some(record) => {
                    let record = record.clone();
                    self.out.snapshots.push(SendSnapshot { head: message, record });
                }
                None => self.raw.report_snapshot(to, ::raft::SnapshotStatus::Failure),
            }
        }
    }

    /// Writes up to and including `id` are durable.
    pub fn persisted(&mut self, id: u64) {
        while let Some(write) = self.pending.finish(id) {
            if let Some(number) = write.ready {
                self.raw.on_persist_ready(number);
            }
            self.send(write.messages);
            if let Some(record) = write.install {
                self.snapshots.installed(record);
            }
        }
        let undurable = self.pending.undurable();
        self.raw.mut_store().evict(undurable);
    }

    /// Shows the new state to readers, then answers who waits for it.
    fn publish(&mut self) {
        if self.published != self.applied {
            self.published = self.applied;
            self.machine.applied_batch(self.applied);
        }
        self.queue.answer();
        self.reads.release(self.applied);
    }
}
