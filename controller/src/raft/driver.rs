//! The thread that hosts a replica: it owns the core, feeds it, and carries out what it asks for.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::budget::Budget;
use super::config::RaftConfig;
use super::handle::{PeerInput, RaftHandle, Request};
use super::message;
use super::node::{CoreError, Effects, RaftCore, RestoreJob, Restored, SendSnapshot, SnapshotJob, StepError};
use super::snapshot_chunks::{OutgoingSnapshot, SnapshotInbox};
use super::state_machine::StateMachine;
use super::status::RaftStatus;
use super::storage::{SnapshotRecord, Store, StoreError};
use super::transport::Transport;
use super::writer::{self, Work};

/// Requests that wait for the replica; more are refused as overload.
const REQUEST_QUEUE: usize = 4096;
/// Messages from peers that wait; more make the peers wait.
const PEER_QUEUE: usize = 1024;
/// Messages from peers handled before anything else gets its turn.
const PEERS_A_ROUND: usize = 256;
/// Writes under way before new proposals have to wait.
const MAX_WRITES: u64 = 64;
/// Ticks between two looks at the disk's free space.
const SPACE_TICKS: u64 = 10;
/// Bytes handed to the writer after which it is looked at earlier.
const SPACE_BYTES: usize = 4 << 20;

/// What the replica's helpers report.
pub(super) enum Event<S: StateMachine> {
    Persisted(u64),
    WriteFailed(StoreError),
    SnapshotBuilt(Result<SnapshotRecord, StoreError>),
    Restored(Restored<S>),
    SnapshotSent { peer: u64, arrived: bool },
}

/// Why a replica has stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RaftFailure {
    /// The core can't go on.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The log can't be written. Nothing that was not durable has been acknowledged.
    #[error(transparent)]
    Write(StoreError),
    /// A thread or its runtime can't be started.
    #[error("can't start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A broken invariant.
    #[error("the raft thread panicked: {0}")]
    Panic(String),
}

impl RaftFailure {
    /// The failure of the log that is behind it, if one is.
    #[must_use]
    pub fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Core(CoreError::Store(error)) | Self::Write(error) => Some(error),
            Self::Core(_) | Self::Thread(_) | Self::Panic(_) => None,
        }
    }
}

/// The replica's thread.
#[derive(Debug)]
pub struct RaftThread(JoinHandle<Result<(), RaftFailure>>);

impl RaftThread {
    /// Waits until the replica has stopped. Blocks.
    ///
    /// # Errors
    /// When it stopped by itself.
    pub fn join(self) -> Result<(), RaftFailure> {
        self.0.join().unwrap_or_else(|panic| Err(RaftFailure::Panic(panic_message(&*panic))))
    }

    /// Whether it has stopped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Starts a replica on a thread of its own. Blocks while it restores its snapshot.
///
/// # Errors
/// When the store is empty, damaged or another replica's, or a thread can't be started.
pub fn start<S: StateMachine, D: Store>(
    config: RaftConfig,
    store: Arc<D>,
    machine: S,
    transport: Arc<dyn Transport>,
) -> Result<(RaftHandle<S::Output>, RaftThread), RaftFailure> {
    let core = RaftCore::new(config.clone(), store.clone(), machine)?;
    let (requests, request_queue) = mpsc::channel(REQUEST_QUEUE);
    let (peers, peer_queue) = mpsc::channel(PEER_QUEUE);
    let (events, event_queue) = mpsc::unbounded_channel();
    let (status_sender, status) = watch::channel(core.status());
    let (work, writer) = writer::spawn(store.clone(), events.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let inbox = Arc::new(SnapshotInbox::new(store.clone()));
    // A handle that outlives the replica must not keep its store open.
    let sink = Arc::downgrade(&inbox);
    let handle = RaftHandle {
        requests,
        peers,
        status,
        chunks: Arc::new(move |from, chunk| Some(sink.upgrade()?.accept(from, chunk))),
        max_command_bytes: config.max_command_bytes,
        queued: Budget::new(config.max_queued_bytes),
    };
    let mut driver = Driver {
        core,
        store,
        transport,
        work,
        events,
        status: status_sender,
        handed_out: 0,
        persisted: 0,
        transfers: 0,
        unseen: 0,
        ticks: 0,
        untold: false,
        snapshot: None,
        restore: None,
        config,
    };
    let queues = Queues { requests: request_queue, peers: peer_queue, events: event_queue };
    let thread = Builder::new().name("raft".to_owned()).spawn(move || {
        let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(driver.run(queues))));
        let result = ran.unwrap_or_else(|panic| Err(RaftFailure::Panic(panic_message(&*panic))));
        driver.finish(&result);
        drop((driver, inbox));
        // A writer that panicked has reported nothing; the failure shows as a log that is not written.
        let _ = writer.join();
        result
    })?;
    Ok((handle, RaftThread(thread)))
}

struct Queues<S: StateMachine> {
    requests: mpsc::Receiver<Request<S::Output>>,
    peers: mpsc::Receiver<PeerInput>,
    events: mpsc::UnboundedReceiver<Event<S>>,
}

struct Driver<S: StateMachine, D: Store> {
    core: RaftCore<S, D>,
    config: RaftConfig,
    store: Arc<D>,
    transport: Arc<dyn Transport>,
    work: Sender<Work>,
    events: UnboundedSender<Event<S>>,
    status: watch::Sender<RaftStatus>,
    handed_out: u64,
    persisted: u64,
    transfers: u64,
    /// Bytes written since the disk's space was looked at.
    unseen: usize,
    ticks: u64,
    /// Progress that is shown, and of which nobody was told.
    untold: bool,
    /// The thread that makes a snapshot.
    snapshot: Option<JoinHandle<()>>,
    /// The thread that reads one.
    restore: Option<JoinHandle<()>>,
}

impl<S: StateMachine, D: Store> Driver<S, D> {
    async fn run(&mut self, mut queues: Queues<S>) -> Result<(), RaftFailure> {
        let mut ticks = tokio::time::interval(self.config.tick);
        // After a pause (a stopped process, a suspended machine) the messages that wait must be seen
        // before time is thought to have passed.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look_at_space();
        self.carry_out(true)?;
        loop {
            let accepts = self.handed_out - self.persisted < MAX_WRITES;
            let (mut first, mut ticked) = (None, false);
            tokio::select! {
                _ = ticks.tick() => {
                    self.tick();
                    ticked = true;
                }
                () = std::future::ready(()), if self.core.has_backlog() => {}
                Some(event) = queues.events.recv() => self.event(event)?,
                Some(peer) = queues.peers.recv() => self.peer(peer),
                request = queues.requests.recv(), if accepts => match request {
                    None => return Ok(()),
                    some => first = some,
                },
            }
            while let Ok(event) = queues.events.try_recv() {
                self.event(event)?;
            }
            for _ in 0..PEERS_A_ROUND {
                let Ok(peer) = queues.peers.try_recv() else { break };
                self.peer(peer);
            }
            if self.unseen >= SPACE_BYTES {
                self.look_at_space();
            }
            if accepts && !self.requests(first, &mut queues.requests) {
                return Ok(());
            }
            if self.carry_out(ticked)? || self.core.has_backlog() {
                // What was said goes out now, however much there is to do here.
                tokio::task::yield_now().await;
            }
        }
    }

    fn tick(&mut self) {
        self.core.tick();
        self.ticks += 1;
        if self.ticks.is_multiple_of(SPACE_TICKS) {
            self.look_at_space();
        }
    }

    fn look_at_space(&mut self) {
        self.unseen = 0;
        self.core.set_space(self.store.space());
    }

    /// Takes what waits in the request queue, proposals together; false when asked to stop.
    fn requests(
        &mut self,
        first: Option<Request<S::Output>>,
        queue: &mut mpsc::Receiver<Request<S::Output>>,
    ) -> bool {
        let (mut commands, mut shares, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = first.or_else(|| queue.try_recv().ok());
        let mut goes_on = true;
        while let Some(request) = next {
            match request {
                Request::Propose(proposal) => {
                    bytes += proposal.command.len();
                    commands.push((proposal.command, proposal.reply));
                    shares.push(proposal.share);
                }
                Request::Read(reply) => self.core.read(reply),
                Request::Change(request, reply) => self.core.change(request, reply),
                Request::Transfer(to, reply) => self.core.transfer_leader(to, reply),
                Request::Shutdown => {
                    goes_on = false;
                    break;
                }
            }
            if bytes >= self.config.max_batch_bytes || commands.len() >= REQUEST_QUEUE {
                break;
            }
            next = queue.try_recv().ok();
        }
        self.core.propose(commands);
        goes_on
    }

    fn event(&mut self, event: Event<S>) -> Result<(), RaftFailure> {
        match event {
            Event::Persisted(id) => {
                self.persisted = id;
                self.core.persisted(id);
            }
            Event::WriteFailed(error) => return Err(RaftFailure::Write(error)),
            // The database writes no more once its disk has failed.
            Event::SnapshotBuilt(Err(error)) if error.is_disk() => return Err(RaftFailure::Write(error)),
            Event::SnapshotBuilt(result) => self.core.snapshot_built(result),
            Event::Restored(restored) => self.core.restored(restored)?,
            Event::SnapshotSent { peer, arrived } => self.core.report_snapshot(peer, arrived),
        }
        Ok(())
    }

    fn peer(&mut self, input: PeerInput) {
        let stepped = match input {
            PeerInput::Message(message) => self.core.step(message),
            PeerInput::Snapshot(snapshot) => self.core.step_snapshot(snapshot),
            PeerInput::Unreachable(peer) => {
                self.core.report_unreachable(peer);
                Ok(())
            }
        };
        match stepped {
            Ok(()) => {}
            Err(error @ StepError::LogLost { .. }) => tracing::error!(%error, "refused the leader's message"),
            Err(error) => tracing::warn!(%error, "refused a peer's message"),
        }
    }

    /// Does what the core wants done; true if it had something to say to peers.
    fn carry_out(&mut self, ticked: bool) -> Result<bool, RaftFailure> {
        let effects = self.core.poll()?;
        let spoke = !effects.messages.is_empty();
        self.send(&effects);
        for snapshot in effects.snapshots {
            self.send_snapshot(snapshot);
        }
        for write in effects.writes {
            self.handed_out = write.id;
            self.unseen += write.batch.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
            // The writer is only gone after it has reported why.
            let _ = self.work.send(Work::Write(write));
        }
        for slot in effects.discard {
            let _ = self.work.send(Work::Discard(slot));
        }
        if let Some(job) = effects.job {
            self.build_snapshot(job)?;
        }
        if let Some(job) = effects.restore {
            self.read_snapshot(job)?;
        }
        self.show_status(ticked);
        Ok(spoke)
    }

    /// Shows the replica's state; wakes who waits for a change of it, for mere progress only after a tick.
    fn show_status(&mut self, ticked: bool) {
        let status = self.core.status();
        let untold = &mut self.untold;
        self.status.send_if_modified(|shown| {
            *untold |= *shown != status;
            let tell = *untold && (ticked || !shown.has_only_progressed(&status));
            *shown = status;
            *untold &= !tell;
            tell
        });
    }

    fn send(&mut self, effects: &Effects<S>) {
        let mut by_peer: HashMap<u64, Vec<Bytes>> = HashMap::new();
        for message in &effects.messages {
            by_peer.entry(message.to).or_default().push(message::encode(message).into());
        }
        for (peer, messages) in by_peer {
            if self.transport.send(peer, messages).is_err() {
                self.core.report_unreachable(peer);
            }
        }
    }

    fn send_snapshot(&mut self, snapshot: SendSnapshot) {
        let peer = snapshot.head.to;
        let source = match self.store.open_snapshot(snapshot.record.slot) {
            Ok(source) => source,
            Err(error) => {
                tracing::error!(%error, peer, "can't read the snapshot to send");
                self.core.report_snapshot(peer, false);
                return;
            }
        };
        self.transfers += 1;
        let events = self.events.clone();
        let report = Box::new(move |arrived| {
            // A replica that has stopped doesn't care.
            let _ = events.send(Event::SnapshotSent { peer, arrived });
        });
        let SendSnapshot { head, record } = snapshot;
        self.transport.send_snapshot(OutgoingSnapshot::new(head, record, source, self.transfers, report));
    }

    fn build_snapshot(&mut self, job: SnapshotJob) -> Result<(), RaftFailure> {
        let (store, events) = (self.store.clone(), self.events.clone());
        let thread = Builder::new().name("raft-snapshot".to_owned()).spawn(move || {
            // A replica that has stopped doesn't care.
            let _ = events.send(Event::SnapshotBuilt(job.run(&*store)));
        })?;
        self.snapshot = Some(thread);
        Ok(())
    }

    fn read_snapshot(&mut self, job: RestoreJob<S>) -> Result<(), RaftFailure> {
        let (store, events) = (self.store.clone(), self.events.clone());
        let thread = Builder::new().name("raft-restore".to_owned()).spawn(move || {
            // A replica that has stopped doesn't care.
            let _ = events.send(Event::Restored(job.run(&*store)));
        })?;
        self.restore = Some(thread);
        Ok(())
    }

    /// Lets go of the store, and shows why the replica has stopped.
    fn finish(&mut self, result: &Result<(), RaftFailure>) {
        for thread in [self.snapshot.take(), self.restore.take()].into_iter().flatten() {
            // A snapshot that panicked is not missed any more.
            let _ = thread.join();
        }
        let Err(failure) = result else { return };
        // A core that panicked may say anything.
        if !matches!(failure, RaftFailure::Panic(_))
            && let Some(message) = self.core.resignation()
        {
            tracing::warn!(controller = message.to, "this controller can't go on; another is to lead");
            // Who doesn't get it stands for election when it misses the leader.
            let _ = self.transport.send(message.to, vec![message::encode(&message).into()]);
        }
        self.status.send_modify(|status| {
            *status = RaftStatus {
                role: super::status::Role::Follower,
                leading: false,
                leader: None,
                failed: Some(failure.to_string().into()),
                ..std::mem::take(status)
            };
        });
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}
