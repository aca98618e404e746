//! Replicas inside one process, connected by queues.

use bytes::Bytes;
use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc;
use wharf_cluster::state::Outcome;
use wharf_controller::raft::{OutgoingSnapshot, RaftHandle, Transport, Unreachable};

/// Messages that wait for a peer.
const QUEUE: usize = 1024;

/// Who is there.
#[derive(Default)]
pub struct Board(RwLock<HashMap<u64, RaftHandle<Outcome>>>);

impl Board {
    pub fn enter(&self, id: u64, handle: RaftHandle<Outcome>) {
        self.0.write().insert(id, handle);
    }

    pub fn leave(&self, id: u64) {
        self.0.write().remove(&id);
    }

    fn find(&self, id: u64) -> Option<RaftHandle<Outcome>> {
        self.0.read().get(&id).cloned()
    }
}

/// One replica's way to the others.
pub struct Lines {
    from: u64,
    board: Arc<Board>,
    runtime: tokio::runtime::Handle,
    queues: RwLock<HashMap<u64, mpsc::Sender<Bytes>>>,
}

impl Lines {
    pub fn new(from: u64, board: Arc<Board>) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(Lines { from, board, runtime, queues: RwLock::default() })
    }

    fn queue(&self, to: u64) -> mpsc::Sender<Bytes> {
        if let Some(queue) = self.queues.read().get(&to) {
            return queue.clone();
        }
        let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
        let (board, from) = (self.board.clone(), self.from);
        self.runtime.spawn(async move {
            while let Some(message) = receiver.recv().await {
                if let Some(peer) = board.find(to) {
                    // A replica that stops takes no more.
                    let _ = peer.step(from, &message).await;
                }
            }
        });
        self.queues.write().insert(to, sender.clone());
        sender
    }
}

impl Transport for Lines {
    fn send(&self, to: u64, messages: Vec<Bytes>) -> Result<(), Unreachable> {
        self.board.find(to).ok_or(Unreachable)?;
        let queue = self.queue(to);
        messages.into_iter().try_for_each(|message| queue.try_send(message)).map_err(|_| Unreachable)
    }

    fn send_snapshot(&self, mut snapshot: OutgoingSnapshot) {
        let (board, from) = (self.board.clone(), self.from);
        self.runtime.spawn(async move {
            let Some(peer) = board.find(snapshot.to()) else { return };
            while let Ok(Some(chunk)) = snapshot.next_chunk() {
                if let Err(error) = peer.receive_snapshot_chunk(from, chunk).await {
                    eprintln!("a snapshot was refused: {error}");
                    return;
                }
            }
            snapshot.delivered();
        });
    }
}
