//! Many replicas in one thread: what is delivered, written, lost or slow is the test's choice, and
//! the same choices give the same run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use raft::eraftpb::{Snapshot, SnapshotMetadata};
use wharf_controller::raft::{
    ChangeError, MembershipRequest, Message, MessageType, OutgoingSnapshot, ProposeError, RaftConfig,
    RaftCore, RaftStatus, RestoreJob, Role, SendSnapshot, SnapshotInbox, SnapshotJob, SnapshotPolicy, Store,
    Write, bootstrap, join, message,
};

use crate::checker::{Checker, Machine};
use crate::mem_store::MemStore;

/// Something under way between two replicas.
#[derive(Clone)]
pub enum Payload {
    Message(Bytes),
    /// All chunks of a snapshot, and where its sender hears of it.
    Snapshot(Vec<Bytes>, u64),
}

#[derive(Clone)]
pub struct Packet {
    pub from: u64,
    pub to: u64,
    pub payload: Payload,
}

/// One replica and its host.
pub struct Node {
    pub store: Arc<MemStore>,
    pub core: Option<RaftCore<Machine, MemStore>>,
    pub writes: VecDeque<Write>,
    job: Option<SnapshotJob>,
    restore: Option<RestoreJob<Machine>>,
    inbox: SnapshotInbox<MemStore>,
    life: u64,
}

type Report = (u64, u64, u64, bool);

/// A simulated cluster.
pub struct Sim {
    pub nodes: BTreeMap<u64, Node>,
    pub net: VecDeque<Packet>,
    pub checker: Checker,
    cut: BTreeSet<(u64, u64)>,
    reports: Arc<Mutex<Vec<Report>>>,
    outgoing: BTreeMap<u64, OutgoingSnapshot>,
    next: u64,
    snapshots_received: u64,
}

fn config(id: u64) -> RaftConfig {
    let jitter = id as usize * 3 % 10;
    RaftConfig {
        election_ticks: 10,
        election_jitter: jitter..jitter + 1,
        max_message_bytes: 120,
        max_inflight_messages: 4,
        cache_bytes: 150,
        snapshot: SnapshotPolicy { entries: 15, bytes: 1 << 20, tail_entries: 4, tail_bytes: 1 << 20 },
        ..RaftConfig::new(id)
    }
}

pub fn context(id: u64) -> Vec<u8> {
    format!("controller-{id}:7400").into_bytes()
}

impl Sim {
    /// Replica 1 as a cluster of its own, and the others ready to join it.
    pub fn new(ids: Range<u64>) -> Self {
        let mut sim = Self {
            nodes: BTreeMap::new(),
            net: VecDeque::new(),
            checker: Checker::default(),
            cut: BTreeSet::new(),
            reports: Arc::default(),
            outgoing: BTreeMap::new(),
            next: 0,
            snapshots_received: 0,
        };
        for id in ids {
            let store = Arc::new(MemStore::default());
            if id == 1 {
                bootstrap(&*store, id, &context(id)).unwrap();
            } else {
                join(&*store, id).unwrap();
            }
            sim.nodes.insert(
                id,
                Node {
                    inbox: SnapshotInbox::new(store.clone()),
                    store,
                    core: None,
                    writes: VecDeque::new(),
                    job: None,
                    restore: None,
                    life: 0,
                },
            );
            sim.start(id);
        }
        sim
    }

    /// A cluster whose members all vote.
    pub fn with_voters(count: u64) -> Self {
        let mut sim = Self::new(1..count + 1);
        sim.run_until("a leader", |sim| sim.leader() == Some(1));
        for id in 2..=count {
            sim.change_and_wait(&MembershipRequest::AddLearner { id, context: context(id) });
            sim.change_and_wait(&MembershipRequest::Promote { id });
        }
        sim
    }

    pub fn core(&mut self, id: u64) -> Option<&mut RaftCore<Machine, MemStore>> {
        self.nodes.get_mut(&id)?.core.as_mut()
    }

    pub fn status(&self, id: u64) -> RaftStatus {
        self.nodes[&id].core.as_ref().expect("it runs").status()
    }

    pub fn history(&self, id: u64) -> &[(u64, u64, Vec<u8>)] {
        &self.nodes[&id].core.as_ref().expect("it runs").machine().history
    }

    pub fn alive(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, node)| node.core.is_some()).map(|(id, _)| *id).collect()
    }

    /// The leader with the highest term among those who run.
    pub fn leader(&self) -> Option<u64> {
        let statuses = self.alive().into_iter().map(|id| self.status(id));
        let leaders = statuses.filter(|status| status.role == Role::Leader && status.leading);
        leaders.max_by_key(|status| status.term).map(|status| status.id)
    }

    /// Whether a replica has a snapshot to read.
    pub fn restores(&self, id: u64) -> bool {
        self.nodes[&id].restore.is_some()
    }

    pub fn snapshots_received(&self) -> u64 {
        self.snapshots_received
    }

    /// Starts a replica from its disk.
    pub fn start(&mut self, id: u64) {
        let checker = self.checker.clone();
        let node = self.nodes.get_mut(&id).unwrap();
        node.life += 1;
        node.inbox = SnapshotInbox::new(node.store.clone());
        node.core = Some(RaftCore::new(config(id), node.store.clone(), Machine::new(checker)).unwrap());
        self.poll(id);
    }

    /// Stops a replica without warning. The first `kept` writes under way reach the disk.
    pub fn crash(&mut self, id: u64, kept: usize) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.core = None;
        let batches: Vec<_> = node.writes.drain(..).take(kept).map(|write| write.batch).collect();
        node.store.persist(&batches).unwrap();
        node.store.crash();
        (node.job, node.restore) = (None, None);
    }

    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// Cuts a replica off, both ways.
    pub fn isolate(&mut self, id: u64) {
        for other in self.nodes.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn tick(&mut self, id: u64) {
        if let Some(core) = self.core(id) {
            core.tick();
            self.poll(id);
        }
    }

    /// The oldest `count` writes under way at a replica become durable.
    pub fn persist(&mut self, id: u64, count: usize) {
        let node = self.nodes.get_mut(&id).unwrap();
        let done: Vec<_> = node.writes.drain(..count.min(node.writes.len())).collect();
        let (Some(last), Some(core)) = (done.last(), node.core.as_mut()) else { return };
        let last = last.id;
        let batches: Vec<_> = done.into_iter().map(|write| write.batch).collect();
        node.store.persist(&batches).unwrap();
        core.persisted(last);
        self.poll(id);
    }

    /// Finishes the snapshot that a replica is making, and the one that it is reading.
    pub fn finish_jobs(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(core) = node.core.as_mut() else { return };
        let (job, restore) = (node.job.take(), node.restore.take());
        if job.is_none() && restore.is_none() {
            return;
        }
        if let Some(job) = job {
            core.snapshot_built(job.run(&*node.store));
        }
        if let Some(job) = restore {
            core.restored(job.run(&*node.store)).unwrap();
        }
        self.poll(id);
    }

    pub fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, payload } = packet;
        let connected = !self.cut.contains(&(from, to));
        let Some(node) = self.nodes.get_mut(&to).filter(|node| connected && node.core.is_some()) else {
            self.lost(&Packet { from, to, payload });
            return;
        };
        let core = node.core.as_mut().expect("filtered");
        // What a replica refuses is as good as lost.
        match payload {
            Payload::Message(bytes) => drop(core.step(message::decode(&bytes).unwrap())),
            Payload::Snapshot(chunks, transfer) => {
                let arrived = chunks.iter().map(|chunk| node.inbox.accept(from, chunk).unwrap()).last();
                let _ = core.step_snapshot(arrived.flatten().expect("the last chunk completes it"));
                self.snapshots_received += 1;
                if let Some(outgoing) = self.outgoing.remove(&transfer) {
                    outgoing.delivered();
                }
            }
        }
        self.poll(to);
        self.report();
    }

    /// A packet is lost; a snapshot's sender hears of it.
    pub fn lost(&mut self, packet: &Packet) {
        if let Payload::Snapshot(_, transfer) = packet.payload {
            self.outgoing.remove(&transfer);
        }
        self.report();
    }

    fn report(&mut self) {
        let reports = std::mem::take(&mut *self.reports.lock().unwrap());
        for (id, life, peer, arrived) in reports {
            let node = self.nodes.get_mut(&id).unwrap();
            if let Some(core) = node.core.as_mut().filter(|_| node.life == life) {
                core.report_snapshot(peer, arrived);
                self.poll(id);
            }
        }
    }

    /// Proposes a command that was never proposed before.
    pub fn propose(&mut self, id: u64) -> Vec<u8> {
        self.next += 1;
        let command = format!("command {}", self.next).into_bytes();
        let (checker, mine) = (self.checker.clone(), command.clone());
        let Some(core) = self.core(id) else { return command };
        let reply = move |result: Result<wharf_controller::raft::Applied<usize>, ProposeError>| match result {
            Ok(applied) => checker.facts().acknowledge(applied.index, mine),
            Err(error) if error.did_not_happen() => checker.facts().refuse(mine),
            Err(_) => {}
        };
        core.propose(vec![(command.clone(), Box::new(reply))]);
        self.poll(id);
        command
    }

    /// Reads at a replica; the answer must cover everything acknowledged before.
    pub fn read(&mut self, id: u64) {
        let checker = self.checker.clone();
        let known = checker.facts().acknowledged_index();
        let Some(core) = self.core(id) else { return };
        core.read(Box::new(move |result| {
            if let Ok(index) = result {
                assert!(index >= known, "a read at {index} misses what was acknowledged at {known}");
                checker.facts().reads += 1;
            }
        }));
        self.poll(id);
    }

    pub fn change(
        &mut self,
        id: u64,
        request: MembershipRequest,
    ) -> Arc<Mutex<Option<Result<(), ChangeError>>>> {
        let answer = Arc::new(Mutex::new(None));
        let place = answer.clone();
        if let Some(core) = self.core(id) {
            let reply = move |result: Result<_, _>| *place.lock().unwrap() = Some(result.map(drop));
            core.change(request, Box::new(reply));
            self.poll(id);
        }
        answer
    }

    /// Changes the members through whoever leads.
    pub fn change_and_wait(&mut self, request: &MembershipRequest) {
        for _ in 0..200 {
            self.round();
            let Some(leader) = self.leader() else { continue };
            let answer = self.change(leader, request.clone());
            for _ in 0..60 {
                self.round();
                if answer.lock().unwrap().is_some() {
                    break;
                }
            }
            match answer.lock().unwrap().take() {
                Some(Ok(())) => return,
                None | Some(Err(ChangeError::InProgress | ChangeError::Propose(_))) => {}
                Some(Err(error)) => panic!("{request:?}: {error}"),
            }
        }
        panic!("{request:?} didn't get through");
    }

    /// Everybody ticks once, then all that follows happens in order and without loss.
    pub fn round(&mut self) {
        for id in self.alive() {
            self.tick(id);
        }
        self.settle();
    }

    /// Delivers, writes and finishes until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut idle = true;
            for id in self.alive() {
                let node = &self.nodes[&id];
                idle &= node.writes.is_empty() && node.job.is_none() && node.restore.is_none();
                self.persist(id, usize::MAX);
                self.finish_jobs(id);
            }
            for packet in std::mem::take(&mut self.net) {
                idle = false;
                self.deliver(packet);
            }
            if idle {
                return;
            }
        }
        panic!("the cluster never comes to rest");
    }

    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..2_000 {
            if done(self) {
                return;
            }
            self.round();
        }
        panic!(
            "{what} was never reached: {:#?}",
            self.alive().into_iter().map(|id| self.status(id)).collect::<Vec<_>>()
        );
    }

    /// Works off what a replica has to say, and checks what can be seen of it.
    fn poll(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(core) = node.core.as_mut() else { return };
        let effects = core.poll().unwrap();
        let status = core.status();
        node.writes.extend(effects.writes);
        if let Some(job) = effects.job {
            assert!(node.job.replace(job).is_none(), "one snapshot at a time");
        }
        if let Some(job) = effects.restore {
            assert!(node.restore.replace(job).is_none(), "one at a time is read");
        }
        for slot in effects.discard {
            node.store.discard(slot).unwrap();
        }
        if status.role == Role::Leader {
            self.checker.facts().leads(status.term, id);
        }
        for message in &effects.messages {
            let bytes = message::encode(message).into();
            self.net.push_back(Packet { from: id, to: message.to, payload: Payload::Message(bytes) });
        }
        for snapshot in effects.snapshots {
            self.send_snapshot(id, snapshot);
        }
    }

    fn send_snapshot(&mut self, id: u64, snapshot: SendSnapshot) {
        let (store, life) = (self.nodes[&id].store.clone(), self.nodes[&id].life);
        self.next += 1;
        let (transfer, to, reports) = (self.next, snapshot.head.to, self.reports.clone());
        let source = store.open_snapshot(snapshot.record.slot).unwrap();
        let report = Box::new(move |arrived| reports.lock().unwrap().push((id, life, to, arrived)));
        let mut outgoing = OutgoingSnapshot::new(snapshot.head, snapshot.record, source, transfer, report);
        let chunks = std::iter::from_fn(|| outgoing.next_chunk().unwrap()).collect();
        self.outgoing.insert(transfer, outgoing);
        self.net.push_back(Packet { from: id, to, payload: Payload::Snapshot(chunks, transfer) });
    }

    /// Sends the leader's newest snapshot though nobody asked for it.
    pub fn offer_snapshot(&mut self, leader: u64, to: u64) {
        let record = self.nodes[&leader].store.snapshot().expect("it has one");
        let metadata = SnapshotMetadata {
            conf_state: Some(record.conf_state.clone()),
            index: record.index,
            term: record.term,
        };
        let head = Message {
            msg_type: MessageType::MsgSnapshot as i32,
            from: leader,
            to,
            term: self.status(leader).term,
            snapshot: Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() }),
            ..Message::default()
        };
        self.send_snapshot(leader, SendSnapshot { head, record });
    }
}

impl Sim {
    /// Delivers everything but what would answer a read at `reader`; that is left in the network.
    pub fn settle_but_hold_answers_to(&mut self, reader: u64) {
        let mut held = VecDeque::new();
        for _ in 0..50 {
            for id in self.alive() {
                self.persist(id, usize::MAX);
            }
            for packet in std::mem::take(&mut self.net) {
                let answer = match &packet.payload {
                    Payload::Message(bytes) => {
                        let message = message::decode(bytes).unwrap();
                        message.msg_type == wharf_controller::raft::MessageType::MsgReadIndexResp as i32
                    }
                    Payload::Snapshot(..) => false,
                };
                if packet.to == reader && answer {
                    held.push_back(packet);
                } else {
                    self.deliver(packet);
                }
            }
        }
        assert!(!held.is_empty(), "no answer was on its way");
        self.net = held;
    }
}
