//! Replicas on their own threads, on real disks or on such as fail, connected inside the process.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use wharf_controller::raft::{
    self, LogStore, OutgoingSnapshot, RaftConfig, RaftHandle, RaftStatus, RaftThread, SnapshotPolicy,
    Transport, Unreachable,
};

use crate::checker::{Checker, Machine};
use crate::lossy_file::LossyFile;

pub type Handle = RaftHandle<usize>;

/// Who can be reached, and where.
#[derive(Default)]
pub struct Switchboard {
    pub handles: RwLock<HashMap<u64, Handle>>,
    pub cut: RwLock<HashSet<u64>>,
    /// Bytes of messages that went to each.
    pub sent: Mutex<HashMap<u64, u64>>,
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
pub struct Lines {
    from: u64,
    board: Arc<Switchboard>,
    runtime: tokio::runtime::Handle,
    queues: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
}

impl Lines {
    pub fn new(from: u64, board: Arc<Switchboard>) -> Arc<Self> {
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
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        *self.board.sent.lock().unwrap().entry(to).or_default() += bytes as u64;
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

pub struct Cluster {
    dir: tempfile::TempDir,
    pub disks: Option<HashMap<u64, LossyFile>>,
    tune: fn(RaftConfig) -> RaftConfig,
    pub board: Arc<Switchboard>,
    pub checker: Checker,
    pub threads: HashMap<u64, RaftThread>,
}

pub fn config(id: u64) -> RaftConfig {
    RaftConfig {
        tick: Duration::from_millis(20),
        snapshot: SnapshotPolicy { entries: 200, bytes: 1 << 20, tail_entries: 20, tail_bytes: 1 << 20 },
        ..RaftConfig::new(id)
    }
}

impl Cluster {
    /// A cluster on real disks.
    pub async fn start(count: u64) -> Self {
        Self::boot(count, None, |config| config).await
    }

    /// A cluster on disks that can be made to fail.
    pub async fn on_lossy_disks(count: u64, tune: fn(RaftConfig) -> RaftConfig) -> Self {
        let disks = (1..=count).map(|id| (id, LossyFile::default())).collect();
        Self::boot(count, Some(disks), tune).await
    }

    async fn boot(
        count: u64,
        disks: Option<HashMap<u64, LossyFile>>,
        tune: fn(RaftConfig) -> RaftConfig,
    ) -> Self {
        let mut cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            disks,
            tune,
            board: Arc::default(),
            checker: Checker::default(),
            threads: HashMap::new(),
        };
        raft::bootstrap(&cluster.open(1), 1, b"one").unwrap();
        cluster.run(1);
        let leader = cluster.wait_for(1, |status| status.leading).await;
        assert_eq!(leader.voters, [1]);
        for id in 2..=count {
            cluster.join(id).await;
        }
        cluster
    }

    pub async fn join(&mut self, id: u64) {
        raft::join(&self.open(id), id).unwrap();
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

    fn open(&self, id: u64) -> LogStore {
        match &self.disks {
            None => LogStore::open(self.path(id)).unwrap(),
            Some(disks) => LogStore::open_on(&self.path(id), disks[&id].clone()).unwrap(),
        }
    }

    pub fn disk(&self, id: u64) -> &LossyFile {
        &self.disks.as_ref().unwrap()[&id]
    }

    /// The replica's host starts again after a power loss.
    pub fn replace_disk(&mut self, id: u64, contents: Vec<u8>) {
        self.disks.as_mut().unwrap().insert(id, LossyFile::holding(contents));
    }

    pub fn run(&mut self, id: u64) {
        let store = Arc::new(self.open(id));
        let lines = Lines::new(id, self.board.clone());
        let (handle, thread) =
            raft::start((self.tune)(config(id)), store, Machine::new(self.checker.clone()), lines).unwrap();
        self.board.handles.write().unwrap().insert(id, handle);
        self.threads.insert(id, thread);
    }

    pub async fn stop(&mut self, id: u64) {
        let handle = self.board.handles.write().unwrap().remove(&id).unwrap();
        handle.shutdown().await;
        let thread = self.threads.remove(&id).unwrap();
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    }

    pub fn handle(&self, id: u64) -> Handle {
        self.board.handles.read().unwrap()[&id].clone()
    }

    pub async fn wait_for(&self, id: u64, what: impl FnMut(&RaftStatus) -> bool) -> RaftStatus {
        let mut status = self.handle(id).status();
        let found = tokio::time::timeout(Duration::from_secs(30), status.wait_for(what)).await;
        found.unwrap_or_else(|_| panic!("replica {id} never got there")).unwrap().clone()
    }

    /// Waits until some replica but those excluded leads.
    pub async fn leader_but(&self, excluded: &[u64]) -> u64 {
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
    pub async fn propose(&self, command: &str) -> u64 {
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
