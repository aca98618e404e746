//! A machine with a controller: the real replica on a simulated disk and network, hosted as the driver hosts it.

use super::{
    calls::Calls,
    checks::Check,
    disk::Disk,
    leader::Leading,
    machine::{Note, Notes, Watched},
    net::{Machine, Packet},
    time::{Clock, MILLI, Micros},
    world::{Event, World, trace},
};
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Mutex, PoisonError},
};
use wharf_cluster::{command::Command, state::Outcome};
use wharf_controller::{
    leadership::Leadership,
    raft::{
        Applied, ChangeError, Effects, Members, OutgoingSnapshot, ProposeError, RaftConfig, RaftCore,
        RaftStatus, ReadError, RestoreJob, Role, SendSnapshot, SnapshotInbox, SnapshotJob, SnapshotPolicy,
        StepError, Store, TransferError, Write, message, storage::Batch,
    },
    replica::Published,
};

/// At most this many steps in a transaction, as the writer does it.
const STEPS: usize = 256;
/// How long a piece of a snapshot may take.
const CHUNK_PATIENCE: Micros = 5_000 * MILLI;

/// Something of a controller's own.
#[derive(Debug)]
pub enum ControllerEvent {
    /// Its raft's time goes on.
    Tick,
    /// A transaction is on the disk.
    Written,
    /// A snapshot has been encoded.
    Encoded,
    /// A snapshot has been read.
    Decoded,
    /// A piece of a snapshot was not taken in time.
    ChunkLate(u64),
    /// A call is tried again, or given up.
    CallDue(u64),
    /// A stream of an agent is no more.
    StreamEnded(u64),
    /// A session that waits for a leader has waited long enough.
    SessionDue(u64),
    /// The leader's loops look at the clock, in the leadership with this number.
    Lead(u64),
    /// Commands of the leader's loops are proposed, after thinking or again.
    Insist(Token, Vec<Command>),
    /// It starts, after a crash.
    Start,
}

/// Which of the leader's loops an answer of the replica is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The orchestrators of a leadership.
    Orchestrating(u64),
    /// The scheduler of a leadership.
    Scheduling(u64),
    /// The dispatcher of a leadership, and which of its commands.
    Dispatch(u64, u64),
    /// The keeper of the members of a leadership.
    Members(u64),
    /// Nobody's.
    Nobody,
}

/// What the replica answers.
#[derive(Debug)]
pub enum Reported {
    /// A call's proposal has come to something.
    Answered(u64, Result<Applied<Outcome>, ProposeError>),
    /// A proposal of the leader's loops has come to something.
    Proposed(Token, Box<Command>, Result<Applied<Outcome>, ProposeError>),
    /// A read may be answered, or can't be.
    Read(u64, Result<u64, ReadError>),
    /// The members were changed, or not.
    Changed(Token, Result<Members, ChangeError>),
    /// Leadership was handed over, or not.
    Transferred(u64, Result<(), TransferError>),
    /// A snapshot arrived at a peer, or not.
    Sent(u64, bool),
}

/// What a replica answers, in order.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<Vec<Reported>>>);

impl Outbox {
    /// Notes an answer.
    pub fn put(&self, reported: Reported) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reported);
    }

    fn take(&self) -> Vec<Reported> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running controller.
pub struct Process {
    /// The replica.
    pub core: RaftCore<Watched, Disk>,
    /// Its state.
    pub published: Arc<Published>,
    /// Its answers.
    pub outbox: Outbox,
    /// Who leads, as it knows.
    pub leadership: Leadership,
    /// What raft says of itself.
    pub status: RaftStatus,
    /// Calls that wait.
    pub calls: Calls,
    /// What it does as leader, if it leads.
    pub leading: Option<Leading>,
    /// Streams of agents that wait for a leader.
    pub waiting: BTreeMap<u64, Vec<u8>>,
    /// How many sessions it has begun.
    pub sessions: u64,
    notes: Notes,
    inbox: SnapshotInbox<Disk>,
    writes: VecDeque<Write>,
    discard: Vec<u64>,
    writing: Option<Vec<Write>>,
    job: Option<SnapshotJob>,
    restore: Option<RestoreJob<Watched>>,
    outgoing: BTreeMap<u64, OutgoingSnapshot>,
    member: bool,
    /// Its next state comes from a snapshot.
    restored: bool,
}

/// A machine with a controller.
pub struct ControllerHost {
    /// Its raft id.
    pub id: u64,
    /// Where others reach it.
    pub address: String,
    /// Its disk.
    pub disk: Arc<Disk>,
    /// Its clocks.
    pub clock: Clock,
    /// Counts its starts, crashes and ends.
    pub life: u64,
    /// What runs, if it runs.
    pub process: Option<Process>,
    /// What was put aside while it stands still.
    pub paused: Option<Vec<Event>>,
    /// Time that a transaction takes.
    pub disk_delay: Micros,
    /// It was removed from the cluster, and will not be started again.
    pub retired: bool,
    /// The command that makes the cluster, which its first controller commits.
    pub founding: Option<Command>,
}

impl World {
    /// The machine whose controller has this raft id.
    #[must_use]
    pub fn host_of(&self, id: u64) -> Option<usize> {
        self.controllers.iter().position(|host| host.id == id)
    }

    /// A controller's configuration: small limits, so that all that has a limit is met.
    fn raft_config(&mut self, host: usize) -> RaftConfig {
        let id = self.controllers[host].id;
        let options = &self.options;
        let jitter = usize::try_from(self.rng.within(0..=self.options.jitter)).unwrap_or(0);
        RaftConfig {
            // Chance of its own would not replay.
            election_jitter: jitter..jitter + 1,
            max_message_bytes: options.message_bytes,
            max_inflight_messages: 16,
            cache_bytes: options.cache_bytes,
            snapshot: SnapshotPolicy {
                entries: options.snapshot_entries,
                tail_entries: options.snapshot_entries / 4,
                ..RaftConfig::new(id).snapshot
            },
            ..RaftConfig::new(id)
        }
    }

    /// Starts a controller from its disk.
    pub fn start_controller(&mut self, host: usize) {
        if self.controllers[host].process.is_some() || self.controllers[host].retired {
            return;
        }
        let config = self.raft_config(host);
        let disk = self.controllers[host].disk.clone();
        let (machine, published, notes) = Watched::new();
        let core = match RaftCore::new(config, disk.clone(), machine) {
            Ok(core) => core,
            Err(error) => {
                return self.violate(Check::ReplicaStopped, format!("machine {host} can't start: {error}"));
            }
        };
        let process = Process {
            core,
            published,
            outbox: Outbox::default(),
            leadership: Leadership::default(),
            status: RaftStatus::default(),
            calls: Calls::default(),
            leading: None,
            waiting: BTreeMap::new(),
            sessions: 0,
            notes,
            inbox: SnapshotInbox::new(disk),
            writes: VecDeque::new(),
            discard: Vec::new(),
            writing: None,
            job: None,
            restore: None,
            outgoing: BTreeMap::new(),
            member: false,
            restored: false,
        };
        let machine = &mut self.controllers[host];
        machine.life += 1;
        machine.process = Some(process);
        trace!(self, "controller {host} starts");
        self.own(host, MILLI, ControllerEvent::Tick);
        self.settle(host);
    }

    /// A controller's process is gone. A transaction under way is on the disk as a whole, or not at all.
    pub fn stop_controller(&mut self, host: usize) {
        let machine = &mut self.controllers[host];
        let Some(process) = machine.process.take() else { return };
        machine.life += 1;
        machine.paused = None;
        let writing = process.writing;
        let disk = machine.disk.clone();
        // The core goes first: what it drops is told to nobody.
        drop(process.core);
        if let Some(writes) = writing {
            let kept = self.rng.chance(0.5);
            self.stats.fault(if kept { "write kept, unconfirmed" } else { "write lost or torn" });
            if kept {
                let batches: Vec<_> = writes.into_iter().map(|write| write.batch).collect();
                let _ = disk.persist(&batches);
            }
        }
        disk.crash();
        trace!(self, "controller {host} stops");
        let machine = Machine::Controller(host);
        let orphans: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.controller == host && stream.controller_open)
            .map(|(number, _)| *number)
            .collect();
        for stream in orphans {
            self.close_stream(stream, machine, super::stream::Ending::Broken);
        }
    }

    /// Plans something of a controller's own.
    pub fn own(&mut self, host: usize, delay: Micros, what: ControllerEvent) {
        let life = self.controllers[host].life;
        self.after(delay, Event::Controller { host, life, what });
    }

    /// Something of its own happens at a controller.
    pub fn controller_event(&mut self, host: usize, what: ControllerEvent) {
        if let ControllerEvent::Start = what {
            return self.start_controller(host);
        }
        let disk = self.controllers[host].disk.clone();
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        match what {
            ControllerEvent::Tick => {
                process.core.tick();
                let tick = self.controllers[host].clock.real(self.options.tick);
                self.own(host, tick, ControllerEvent::Tick);
            }
            ControllerEvent::Written => {
                let Some(writes) = process.writing.take() else { return };
                let last = writes.last().map_or(0, |write| write.id);
                let batches: Vec<_> = writes.into_iter().map(|write| write.batch).collect();
                let term = |batch: &Batch| batch.hard_state.term;
                let votes = batches.last().map(term) > Some(disk.term());
                // A disk in memory doesn't fail.
                let _ = disk.persist(&batches);
                for slot in mem::take(&mut process.discard) {
                    let _ = disk.discard(slot);
                }
                process.core.persisted(last);
                if votes {
                    self.settle(host);
                    return self.voted(host);
                }
            }
            ControllerEvent::Encoded => {
                let Some(job) = process.job.take() else { return };
                let record = job.run(&*disk);
                self.stats.snapshots += 1;
                process.core.snapshot_built(record);
            }
            ControllerEvent::Decoded => {
                let Some(job) = process.restore.take() else { return };
                if let Err(error) = process.core.restored(job.run(&*disk)) {
                    return self.violate(Check::ReplicaStopped, format!("machine {host}: {error}"));
                }
            }
            ControllerEvent::ChunkLate(transfer) => drop(process.outgoing.remove(&transfer)),
            ControllerEvent::CallDue(call) => self.call_due(host, call),
            ControllerEvent::StreamEnded(stream) => self.stream_ended(host, stream),
            ControllerEvent::SessionDue(stream) => self.session_due(host, stream),
            ControllerEvent::Lead(number) => self.lead_due(host, number),
            ControllerEvent::Insist(token, commands) => self.insist(host, token, commands),
            ControllerEvent::Start => {}
        }
        self.settle(host);
    }

    /// A packet arrives at a controller's machine.
    pub fn controller_packet(&mut self, host: usize, from: Machine, packet: Packet) {
        let sender = match from {
            Machine::Controller(sender) => self.controllers[sender].id,
            Machine::Node(_) | Machine::Client(_) => 0,
        };
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        match packet {
            Packet::Raft(bytes) => {
                let message = match message::decode(&bytes) {
                    Ok(message) => message,
                    Err(error) => return self.violate(Check::ReplicaStopped, format!("a message: {error}")),
                };
                if let Err(error @ StepError::LogLost { .. }) = process.core.step(message) {
                    self.violate(Check::LogLost, format!("machine {host}: {error}"));
                }
            }
            Packet::Chunk { transfer, bytes } => {
                let taken = process.inbox.accept(sender, &bytes);
                let ok = taken.is_ok();
                if let Ok(Some(arrived)) = taken {
                    self.stats.installs += 1;
                    // What a replica refuses is as good as lost.
                    let _ = process.core.step_snapshot(arrived);
                }
                self.send(Machine::Controller(host), from, Packet::ChunkTaken { transfer, ok });
            }
            Packet::ChunkTaken { transfer, ok } => self.chunk_taken(host, from, transfer, ok),
            Packet::Call { number, forwarded, call } => self.take_call(host, from, number, forwarded, call),
            Packet::Answer { number, answer } => self.forward_answered(host, number, answer),
        }
        self.settle(host);
    }

    fn chunk_taken(&mut self, host: usize, peer: Machine, transfer: u64, ok: bool) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        if !ok {
            process.outgoing.remove(&transfer);
            return;
        }
        let Some(snapshot) = process.outgoing.get_mut(&transfer) else { return };
        match snapshot.next_chunk() {
            Ok(Some(bytes)) => {
                self.send(Machine::Controller(host), peer, Packet::Chunk { transfer, bytes });
                self.own(host, CHUNK_PATIENCE, ControllerEvent::ChunkLate(transfer));
            }
            Ok(None) => {
                if let Some(snapshot) = process.outgoing.remove(&transfer) {
                    snapshot.delivered();
                }
            }
            Err(error) => self.violate(Check::ReplicaStopped, format!("a snapshot can't be read: {error}")),
        }
    }

    /// Works off everything that follows from what has just happened at a controller.
    pub fn settle(&mut self, host: usize) {
        loop {
            let Some(process) = self.controllers[host].process.as_mut() else { return };
            let effects = match process.core.poll() {
                Ok(effects) => effects,
                Err(error) => return self.violate(Check::ReplicaStopped, format!("machine {host}: {error}")),
            };
            let (notes, reported) = (process.notes.take(), process.outbox.take());
            let status = process.core.status();
            for note in notes {
                self.note(host, note);
            }
            self.carry_out(host, effects);
            let mut acted = self.take_status(host, status) || !reported.is_empty();
            for reported in reported {
                self.reported(host, reported);
            }
            acted |= self.lead(host);
            if !acted || self.violation.is_some() {
                return;
            }
        }
    }

    fn note(&mut self, host: usize, note: Note) {
        let id = self.controllers[host].id;
        match note {
            Note::Applied { index, term, command, outcome } => {
                match self.checks.reference.applied(id, index, term, &command, &outcome) {
                    Ok(None) => {}
                    Ok(Some(events)) => {
                        trace!(self, "index {index} is committed: {events:?}");
                        let Some(state) = self.checks.reference.newest() else { return };
                        let checked = self.checks.tasks.executed(state, &events);
                        self.checks.agents.executed(state, &events);
                        self.check(checked);
                    }
                    Err(violation) => self.check(Err(violation)),
                }
            }
            Note::Restored => {
                if let Some(process) = self.controllers[host].process.as_mut() {
                    process.restored = true;
                }
            }
            Note::Published { index, state } => {
                let process = self.controllers[host].process.as_mut();
                let whole = process.is_some_and(|process| std::mem::take(&mut process.restored));
                let checked = self.checks.reference.published(id, index, &state, whole);
                self.check(checked);
            }
        }
    }

    fn carry_out(&mut self, host: usize, effects: Effects<Watched>) {
        let Effects { messages, snapshots, writes, job, restore, discard } = effects;
        for raft in &messages {
            if let Some(peer) = self.host_of(raft.to) {
                let packet = Packet::Raft(message::encode(raft).into());
                self.send(Machine::Controller(host), Machine::Controller(peer), packet);
            }
        }
        for snapshot in snapshots {
            self.send_snapshot(host, snapshot);
        }
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        process.writes.extend(writes);
        process.discard.extend(discard);
        if process.writing.is_none() && !process.writes.is_empty() {
            let count = process.writes.len().min(STEPS);
            process.writing = Some(process.writes.drain(..count).collect());
            let usual = self.controllers[host].disk_delay;
            let delay = usual / 2 + self.rng.around(usual / 2);
            self.own(host, delay, ControllerEvent::Written);
        }
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        if let Some(job) = job {
            process.job = Some(job);
            let delay = self.rng.around(20 * MILLI);
            self.own(host, delay, ControllerEvent::Encoded);
        }
        if let Some(restore) = restore
            && let Some(process) = self.controllers[host].process.as_mut()
        {
            process.restore = Some(restore);
            let delay = self.rng.around(50 * MILLI);
            self.own(host, delay, ControllerEvent::Decoded);
        }
    }

    fn send_snapshot(&mut self, host: usize, snapshot: SendSnapshot) {
        let transfer = self.number();
        let disk = self.controllers[host].disk.clone();
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let SendSnapshot { head, record } = snapshot;
        let to = head.to;
        let Ok(source) = disk.open_snapshot(record.slot) else {
            process.core.report_snapshot(to, false);
            return;
        };
        let outbox = process.outbox.clone();
        let report = Box::new(move |arrived| outbox.put(Reported::Sent(to, arrived)));
        process.outgoing.insert(transfer, OutgoingSnapshot::new(head, record, source, transfer, report));
        if let Some(peer) = self.host_of(to) {
            self.chunk_taken(host, Machine::Controller(peer), transfer, true);
        }
    }

    /// Follows what raft says of itself; whether that changes who leads.
    fn take_status(&mut self, host: usize, status: RaftStatus) -> bool {
        let id = self.controllers[host].id;
        if status.role == Role::Leader {
            let checked = self.checks.reference.leads(status.term, id);
            self.check(checked);
        }
        let Some(process) = self.controllers[host].process.as_mut() else { return false };
        let before = process.leadership;
        process.leadership = before.next(&status);
        process.member |= !status.voters.is_empty() && !status.removed();
        let removed = process.member && status.removed();
        process.status = status;
        let now = process.leadership;
        if now != before {
            trace!(self, "controller {host}: {now:?}");
            self.leadership_changed(host, before);
        }
        if removed {
            trace!(self, "controller {host} was removed");
            self.controllers[host].retired = true;
            self.stop_controller(host);
        }
        now != before
    }

    fn reported(&mut self, host: usize, reported: Reported) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        match reported {
            Reported::Sent(peer, arrived) => process.core.report_snapshot(peer, arrived),
            Reported::Read(call, result) => self.read_confirmed(host, call, &result),
            Reported::Transferred(call, result) => self.transferred(host, call, &result),
            Reported::Answered(call, result) => self.call_proposed(host, call, result),
            Reported::Proposed(token, command, result) => self.loop_proposed(host, token, command, &result),
            Reported::Changed(token, result) => self.members_changed(host, token, result),
        }
    }
}
