//! More than can be written: what waits is bounded, and who is slow holds nobody else up.

use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use wharf_controller::raft::storage::{Batch, Loaded, SnapshotSource};
use wharf_controller::raft::{
    self, Entry, ProposeError, RaftConfig, SnapshotPolicy, Space, Store, StoreError,
};

use crate::checker::{Checker, Machine};
use crate::mem_store::MemStore;
use crate::replicas::{Cluster, Lines, config};

const CHILD: &str = "WHARF_RAFT_FLOOD_CHILD";
const PROPOSALS: usize = 100_000;
const SIZE: usize = 64 << 10;
/// What 6.4 GB of proposals may add to the process.
const BOUND: u64 = 320 << 20;

/// A disk that writes nothing while it is held.
#[derive(Default)]
struct Gate {
    store: MemStore,
    held: Mutex<bool>,
    released: Condvar,
}

impl Gate {
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.released.notify_all();
    }
}

impl Store for Gate {
    fn found(&self, id: u64, batch: &Batch) -> Result<(), StoreError> {
        self.store.found(id, batch)
    }
    fn load(&self, cache_bytes: usize) -> Result<Loaded, StoreError> {
        self.store.load(cache_bytes)
    }
    fn persist(&self, batches: &[Batch]) -> Result<(), StoreError> {
        drop(self.released.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        self.store.persist(batches)
    }
    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        self.store.entries(low, high, max_bytes)
    }
    fn new_slot(&self) -> u64 {
        self.store.new_slot()
    }
    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError> {
        self.store.put_chunk(slot, sequence, data)
    }
    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn SnapshotSource>, StoreError> {
        self.store.open_snapshot(slot)
    }
    fn discard(&self, slot: u64) -> Result<(), StoreError> {
        self.store.discard(slot)
    }
    fn space(&self) -> Option<Space> {
        None
    }
}

/// Memory of this process in bytes, now or at its highest.
fn memory(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// In a process of its own, whose memory is nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_is_flooded() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let store = Arc::new(Gate::default());
    raft::bootstrap(&*store, 1, b"").unwrap();
    let lines = Lines::new(1, Arc::default());
    let settings = RaftConfig {
        snapshot: SnapshotPolicy { entries: 1 << 30, bytes: 1 << 40, tail_entries: 0, tail_bytes: 0 },
        ..config(1)
    };
    let (handle, thread) =
        raft::start(settings, store.clone(), Machine::new(Checker::default()), lines).unwrap();
    handle.status().wait_for(|status| status.leading).await.unwrap();
    store.hold(true);
    let before = memory("VmRSS:");
    let proposals: Vec<_> = (0..PROPOSALS)
        .map(|n| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let mut command = vec![1; SIZE];
                command[..8].copy_from_slice(&n.to_le_bytes());
                handle.propose(command).await
            })
        })
        .collect();
    // All are asked before any is written: those that are not refused at once wait.
    let refused = loop {
        let done = proposals.iter().filter(|proposal| proposal.is_finished()).count();
        if done > PROPOSALS - 2 * (64 << 20) / SIZE {
            break done;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let grown = memory("VmHWM:").saturating_sub(before);
    store.hold(false);
    let (mut accepted, mut overloaded) = (0, 0);
    for proposal in proposals {
        match proposal.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(ProposeError::Overloaded) => overloaded += 1,
            Err(error) => panic!("{error}"),
        }
    }
    println!(
        "flood: {accepted} accepted, {overloaded} refused ({refused} before anything was written), {} MiB",
        grown >> 20
    );
    assert!(accepted > 100 && overloaded > PROPOSALS / 2);
    assert!(grown < BOUND, "{} MiB more than before the flood", grown >> 20);
    handle.shutdown().await;
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
}

#[test]
fn a_flood_of_proposals_is_refused_and_takes_little_memory() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pressure::child_is_flooded", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("flood: "), "{printed}{errors}");
}

fn small_flights(config: RaftConfig) -> RaftConfig {
    RaftConfig { max_inflight_messages: 8, max_message_bytes: 32 << 10, cache_bytes: 64 << 10, ..config }
}

/// A follower's disk stands still, for longer than the log lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_writes_nothing_holds_nobody_up_and_catches_up_while_writes_go_on() {
    let cluster = Cluster::on_lossy_disks(3, small_flights).await;
    let before = cluster.propose("before").await;
    cluster.wait_for(3, |status| status.applied >= before).await;
    cluster.disk(3).hold(true);
    let sent_before = cluster.board.sent.lock().unwrap()[&3];
    let filler = "x".repeat(16 << 10);
    for round in 0..400 {
        cluster.propose(&format!("meanwhile {round} {filler}")).await;
    }
    let leader = cluster.wait_for(1, |status| status.first_index > before + 100).await;
    assert!(leader.peers[&3].matched <= before + 100, "it acknowledges nothing: {leader:?}");
    let sent = cluster.board.sent.lock().unwrap()[&3] - sent_before;
    assert!(sent < 1 << 20, "{sent} bytes of 6.4 MB went to one who doesn't take them");

    cluster.disk(3).hold(false);
    let behind = leader.first_index;
    let (mut last, mut round) = (0, 0);
    // Writes go on until it has caught up with them.
    while cluster.handle(3).status().borrow().applied + 5 < leader.last_index {
        round += 1;
        last = cluster.propose(&format!("while it catches up {round}")).await;
    }
    cluster.wait_for(3, |status| status.applied >= last).await;
    let status = cluster.handle(3).status().borrow().clone();
    assert!(
        status.first_index > before + 1 && status.snapshot_index >= behind - 1,
        "by snapshot: {status:?}"
    );
}
