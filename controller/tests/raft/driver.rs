//! Replicas on their own threads and real disks, connected inside the process.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use wharf_controller::raft::{
    self, ChangeError, LogStore, OutgoingSnapshot, ProposeError, RaftConfig, RaftHandle, RaftStatus,
    RaftThread, SnapshotPolicy, Store, StoreError, Transport, Unreachable,
};

use crate::checker::{Checker, Machine};
use crate::mem_store::MemStore;

type Handle = RaftHandle<usize>;

/// Who can be reached, and where.
#[derive(Default)]
struct Switchboard {
    handles: RwLock<HashMap<u64, Handle>>,
    cut: RwLock<HashSet<u64>>,
}

impl Switchboard {
    fn find(&self, from: u64, to: u64) -> Option<Handle> {
        let cut = self.cut.read().unwrap();
        if cut.contains(&from) || cut.contains(&to) {
            return None;
        }
        self.handles.read().unwrap().get(&to).cloned()
    }
}

/// One replica's lines to the others: a bounded queue each, worked off in order.
struct Lines {
    from: u64,
    board: Arc<Switchboard>,
    runtime: tokio::runtime::Handle,
    queues: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
}

impl Lines {
    fn new(from: u64, board: Arc<Switchboard>) -> Arc<Self> {
        Arc::new(Self { from, board, runtime: tokio::runtime::Handle::current(), queues: Mutex::default() })
    }

    fn queue(&self, to: u64) -> mpsc::Sender<Bytes> {
        let mut queues = self.queues.lock().unwrap();
        let open = |queue: &&mut mpsc::Sender<Bytes>| !queue.is_closed();
        if let Some(queue) = queues.get_mut(&to).filter(open) {
            return queue.clone();
        }
        let (sender, mut receiver) = mpsc::channel::<Bytes>(256);
        let (board, from) = (self.board.clone(), self.from);
        self.runtime.spawn(async move {
            while let Some(message) = receiver.recv().await {
                if let Some(peer) = board.find(from, to) {
                    let _ = peer.step(from, &message).await;
                }
            }
        });
        queues.insert(to, sender.clone());
        sender
    }
}

impl Transport for Lines {
    fn send(&self, to: u64, messages: Vec<Bytes>) -> Result<(), Unreachable> {
        self.board.find(self.from, to).ok_or(Unreachable)?;
        let queue = self.queue(to);
        messages.into_iter().try_for_each(|message| queue.try_send(message)).map_err(|_| Unreachable)
    }

    fn send_snapshot(&self, mut snapshot: OutgoingSnapshot) {
        let (board, from) = (self.board.clone(), self.from);
        self.runtime.spawn(async move {
            let Some(peer) = board.find(from, snapshot.to()) else { return };
            while let Ok(Some(chunk)) = snapshot.next_chunk() {
                if peer.receive_snapshot_chunk(from, chunk).await.is_err() {
                    return;
                }
            }
            snapshot.delivered();
        });
    }
}

struct Cluster {
    dir: tempfile::TempDir,
    board: Arc<Switchboard>,
    checker: Checker,
    threads: HashMap<u64, RaftThread>,
}

fn config(id: u64) -> RaftConfig {
    RaftConfig {
        tick: Duration::from_millis(20),
        snapshot: SnapshotPolicy { entries: 200, bytes: 1 << 20, tail_entries: 20, tail_bytes: 1 << 20 },
        ..RaftConfig::new(id)
    }
}

impl Cluster {
    async fn start(count: u64) -> Self {
        let mut cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            board: Arc::default(),
            checker: Checker::default(),
            threads: HashMap::new(),
        };
        raft::bootstrap(&LogStore::open(cluster.path(1)).unwrap(), 1, b"one").unwrap();
        cluster.run(1);
        let leader = cluster.wait_for(1, |status| status.leading).await;
        assert_eq!(leader.voters, [1]);
        for id in 2..=count {
            cluster.join(id).await;
        }
        cluster
    }

    async fn join(&mut self, id: u64) {
        raft::join(&LogStore::open(self.path(id)).unwrap(), id).unwrap();
        self.run(id);
        let leader = self.handle(1);
        leader.add_learner(id, format!("controller {id}").into_bytes()).await.unwrap();
        let caught_up =
            |status: &RaftStatus| status.peers.get(&id).is_some_and(|peer| peer.matched == status.last_index);
        self.wait_for(1, caught_up).await;
        let members = leader.promote(id).await.unwrap();
        assert!(members.voters.contains(&id));
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("{id}.redb"))
    }

    fn run(&mut self, id: u64) {
        let store = Arc::new(LogStore::open(self.path(id)).unwrap());
        let lines = Lines::new(id, self.board.clone());
        let (handle, thread) =
            raft::start(config(id), store, Machine::new(self.checker.clone()), lines).unwrap();
        self.board.handles.write().unwrap().insert(id, handle);
        self.threads.insert(id, thread);
    }

    async fn stop(&mut self, id: u64) {
        let handle = self.board.handles.write().unwrap().remove(&id).unwrap();
        handle.shutdown().await;
        let thread = self.threads.remove(&id).unwrap();
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    }

    fn handle(&self, id: u64) -> Handle {
        self.board.handles.read().unwrap()[&id].clone()
    }

    async fn wait_for(&self, id: u64, what: impl FnMut(&RaftStatus) -> bool) -> RaftStatus {
        let mut status = self.handle(id).status();
        let found = tokio::time::timeout(Duration::from_secs(30), status.wait_for(what)).await;
        found.unwrap_or_else(|_| panic!("replica {id} never got there")).unwrap().clone()
    }

    /// Waits until some replica but those excluded leads.
    async fn leader_but(&self, excluded: &[u64]) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let handles = self.board.handles.read().unwrap().clone();
            let leads = |(id, handle): (u64, Handle)| handle.status().borrow().leading.then_some(id);
            let candidates = handles.into_iter().filter(|(id, _)| !excluded.contains(id));
            if let Some(id) = candidates.filter_map(leads).next() {
                return id;
            }
            assert!(Instant::now() < deadline, "no leader was found");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Proposes through whoever leads until it is confirmed.
    async fn propose(&self, command: &str) -> u64 {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let leader = self.leader_but(&[]).await;
            // An attempt whose fate is unknown may have happened, so each has a name of its own.
            let bytes = format!("{command} attempt {attempt}").into_bytes();
            match self.handle(leader).propose(bytes.clone()).await {
                Ok(applied) => {
                    self.checker.facts().acknowledge(applied.index, bytes);
                    return applied.index;
                }
                Err(error) => {
                    if error.did_not_happen() {
                        self.checker.facts().refuse(bytes);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_agree_and_any_of_them_reads_what_was_written() {
    let cluster = Cluster::start(3).await;
    for round in 0..20 {
        let index = cluster.propose(&format!("write {round}")).await;
        for id in 1..=3 {
            assert!(cluster.handle(id).read_index().await.unwrap() >= index);
        }
    }
    let refused = cluster.handle(2).propose(b"no".to_vec()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(1) }));
    assert_eq!(cluster.handle(1).propose(Vec::new()).await, Err(ProposeError::Empty));
    let large = cluster.handle(1).propose(vec![0; 4 << 20]).await;
    assert!(matches!(large, Err(ProposeError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_when_the_leader_is_cut_off_and_when_it_stops() {
    let mut cluster = Cluster::start(3).await;
    cluster.propose("before").await;
    cluster.board.cut.write().unwrap().insert(1);
    let second = cluster.leader_but(&[1]).await;
    cluster.wait_for(1, |status| !status.leading).await;
    cluster.propose("while the first is cut off").await;
    cluster.board.cut.write().unwrap().clear();
    let index = cluster.propose("after it is back").await;
    cluster.wait_for(1, |status| status.applied >= index).await;
    cluster.stop(second).await;
    cluster.leader_but(&[second]).await;
    let index = cluster.propose("while the second is down").await;
    cluster.run(second);
    cluster.wait_for(second, |status| status.applied >= index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_state_survives_a_restart_of_everybody_and_latecomers_get_a_snapshot() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.handle(1);
    let writers = (0..16).map(|writer| {
        let (leader, checker) = (leader.clone(), cluster.checker.clone());
        tokio::spawn(async move {
            for round in 0..50 {
                let command = format!("writer {writer} round {round}").into_bytes();
                let applied = leader.propose(command.clone()).await.unwrap();
                checker.facts().acknowledge(applied.index, command);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let status = cluster.wait_for(1, |status| status.snapshot_index > 0 && status.first_index > 1).await;
    assert_eq!(status.voters, [1, 2]);
    for id in 1..=2 {
        cluster.stop(id).await;
    }
    for id in 1..=2 {
        cluster.run(id);
    }
    let index = cluster.propose("after the restart").await;
    assert!(index > 800, "the log goes on where it ended: {index}");
    let leads = cluster.leader_but(&[]).await;
    cluster.handle(leads).transfer_leader(1).await.unwrap();
    cluster.wait_for(1, |status| status.leading).await;
    // The log no longer begins at 1, so a newcomer needs the snapshot; the checker compares it.
    cluster.join(3).await;
    let index = cluster.propose("with three").await;
    cluster.wait_for(3, |status| status.applied >= index && status.voters == [1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_leaves_in_order() {
    let cluster = Cluster::start(3).await;
    let error = cluster.handle(1).remove(1).await.unwrap_err();
    let ChangeError::Propose(ProposeError::NotLeader { leader: Some(successor) }) = error else {
        panic!("{error}");
    };
    cluster.wait_for(successor, |status| status.leading).await;
    let members = cluster.handle(successor).remove(1).await.unwrap();
    assert_eq!(members.voters, [2, 3]);
    cluster.board.handles.write().unwrap().remove(&1);
    cluster.propose("without it").await;
}

/// A disk that fails when told to.
struct Failing(MemStore, std::sync::atomic::AtomicBool);

impl Store for Failing {
    fn found(&self, id: u64, batch: &raft::storage::Batch) -> Result<(), StoreError> {
        self.0.found(id, batch)
    }
    fn load(&self, cache_bytes: usize) -> Result<raft::storage::Loaded, StoreError> {
        self.0.load(cache_bytes)
    }
    fn persist(&self, batches: &[raft::storage::Batch]) -> Result<(), StoreError> {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            let source = std::io::Error::from_raw_os_error(28);
            return Err(StoreError::disk(std::path::Path::new("raft.redb"), source));
        }
        self.0.persist(batches)
    }
    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<raft::Entry>, StoreError> {
        self.0.entries(low, high, max_bytes)
    }
    fn new_slot(&self) -> u64 {
        self.0.new_slot()
    }
    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError> {
        self.0.put_chunk(slot, sequence, data)
    }
    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn raft::storage::SnapshotSource>, StoreError> {
        self.0.open_snapshot(slot)
    }
    fn discard(&self, slot: u64) -> Result<(), StoreError> {
        self.0.discard(slot)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_replica_and_says_why() {
    let store = Arc::new(Failing(MemStore::default(), false.into()));
    raft::bootstrap(&*store, 1, b"").unwrap();
    let lines = Lines::new(1, Arc::default());
    let (handle, thread) =
        raft::start(config(1), store.clone(), Machine::new(Checker::default()), lines).unwrap();
    let mut status = handle.status();
    status.wait_for(|status| status.leading).await.unwrap();
    handle.propose(b"fine".to_vec()).await.unwrap();
    store.1.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(handle.propose(b"lost".to_vec()).await, Err(ProposeError::Stopped));
    assert_eq!(handle.propose(b"later".to_vec()).await, Err(ProposeError::Stopped));
    let failure = tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap_err();
    assert!(failure.to_string().contains("no space is left"), "{failure}");
    let failed = status.borrow_and_update().failed.clone();
    assert!(failed.is_some_and(|reason| reason.contains("no space is left")));
}
