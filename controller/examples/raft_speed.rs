//! How fast the replicated log alone is: three replicas in one process, each with its log in a real file, connected by
//! queues. `raft_speed [DIR] [SECONDS]` prints writes a second and their latency for 1 and 256 proposers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::sync::mpsc;
use wharf_controller::raft::{
    self, ApplyError, ConfState, LogStore, MemberChange, OutgoingSnapshot, RaftConfig, RaftHandle,
    RaftThread, RestoreError, SnapshotDecoder, SnapshotEncoder, StateMachine, Transport, Unreachable,
};

const REPLICAS: u64 = 3;
const COMMAND_BYTES: usize = 128;

/// Counts what it applies.
struct Counter(u64);

impl StateMachine for Counter {
    type Output = u64;
    type Restored = u64;

    fn apply(&mut self, _index: u64, _term: u64, _command: &[u8]) -> Result<u64, ApplyError> {
        self.0 += 1;
        Ok(self.0)
    }

    fn membership_changed(&mut self, _index: u64, _members: &ConfState, _changed: &[MemberChange]) {}

    fn snapshot(&self) -> SnapshotEncoder {
        let count = self.0;
        Box::new(move |out| out.write_all(&count.to_le_bytes()))
    }

    fn decoder(&self) -> SnapshotDecoder<u64> {
        Box::new(|input| {
            let mut bytes = [0; 8];
            input.read_exact(&mut bytes).map_err(|error| RestoreError(error.to_string()))?;
            Ok(u64::from_le_bytes(bytes))
        })
    }

    fn restore(&mut self, _index: u64, count: u64) {
        self.0 = count;
    }
}

type Handle = RaftHandle<u64>;
type Board = Arc<Mutex<HashMap<u64, Handle>>>;

/// One replica's queues to the others.
struct Lines {
    from: u64,
    board: Board,
    runtime: tokio::runtime::Handle,
    queues: [OnceLock<mpsc::Sender<Vec<Bytes>>>; REPLICAS as usize + 1],
}

impl Lines {
    fn new(from: u64, board: Board) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(Self { from, board, runtime, queues: Default::default() })
    }

    fn open(&self, to: u64) -> mpsc::Sender<Vec<Bytes>> {
        let (sender, mut receiver) = mpsc::channel::<Vec<Bytes>>(512);
        let (board, from) = (self.board.clone(), self.from);
        self.runtime.spawn(async move {
            while let Some(messages) = receiver.recv().await {
                let peer = board.lock().ok().and_then(|board| board.get(&to).cloned());
                let Some(peer) = peer else { continue };
                for message in messages {
                    // A lost message is sent again.
                    let _ = peer.step(from, &message).await;
                }
            }
        });
        sender
    }
}

impl Transport for Lines {
    fn send(&self, to: u64, messages: Vec<Bytes>) -> Result<(), Unreachable> {
        let place = usize::try_from(to).ok().and_then(|to| self.queues.get(to)).ok_or(Unreachable)?;
        place.get_or_init(|| self.open(to)).try_send(messages).map_err(|_| Unreachable)
    }

    fn send_snapshot(&self, mut snapshot: OutgoingSnapshot) {
        let peer = self.board.lock().ok().and_then(|board| board.get(&snapshot.to()).cloned());
        let from = self.from;
        self.runtime.spawn(async move {
            let Some(peer) = peer else { return };
            while let Ok(Some(chunk)) = snapshot.next_chunk() {
                if peer.receive_snapshot_chunk(from, chunk).await.is_err() {
                    return;
                }
            }
            snapshot.delivered();
        });
    }
}

fn run(folder: &Path, id: u64, board: &Board) -> anyhow::Result<(Handle, RaftThread)> {
    let store = LogStore::open(folder.join(format!("{id}.redb")))?;
    if id == 1 {
        raft::bootstrap(&store, 1, b"")?;
    } else {
        raft::join(&store, id)?;
    }
    let lines = Lines::new(id, board.clone());
    let (handle, thread) = raft::start(RaftConfig::new(id), Arc::new(store), Counter(0), lines)?;
    if let Ok(mut board) = board.lock() {
        board.insert(id, handle.clone());
    }
    Ok((handle, thread))
}

async fn measure(leader: &Handle, proposers: usize, time: Duration) -> anyhow::Result<()> {
    let started = Instant::now();
    let propose = |number: usize| {
        let leader = leader.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < time {
                let before = Instant::now();
                leader.propose(vec![u8::try_from(number % 250).unwrap_or(0); COMMAND_BYTES]).await?;
                times.push(before.elapsed());
            }
            Ok::<_, raft::ProposeError>(times)
        })
    };
    let mut times = Vec::new();
    for proposer in (0..proposers).map(propose).collect::<Vec<_>>() {
        times.extend(proposer.await??);
    }
    let elapsed = started.elapsed();
    times.sort_unstable();
    ensure!(!times.is_empty(), "nothing was written");
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
    println!(
        "{proposers:>4} proposers: {:>7.0} writes/s, p50 {} us, p99 {} us",
        times.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let place = args.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let seconds = args.next().map_or(Ok(5), |text| text.parse()).context("SECONDS is a number")?;
    let folder = tempfile::tempdir_in(place)?;
    let board = Board::default();
    let (leader, thread) = run(folder.path(), 1, &board)?;
    leader.status().wait_for(|status| status.leading).await?;
    let mut threads = vec![thread];
    for id in 2..=REPLICAS {
        threads.push(run(folder.path(), id, &board)?.1);
        leader.add_learner(id, Vec::new()).await?;
        leader
            .status()
            .wait_for(|status| status.peers.get(&id).is_some_and(|peer| peer.matched == status.last_index))
            .await?;
        leader.promote(id).await?;
    }
    for proposers in [1, 256] {
        measure(&leader, proposers, Duration::from_secs(seconds)).await?;
    }
    let handles: Vec<_> = board.lock().map(|mut board| board.drain().collect()).unwrap_or_default();
    for (_, handle) in handles {
        handle.shutdown().await;
    }
    for thread in threads {
        tokio::task::spawn_blocking(|| thread.join()).await??;
    }
    Ok(())
}
