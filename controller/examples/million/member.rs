//! One replica on a file of its own.

use crate::{
    Failure,
    lines::{Board, Lines},
    timed::{Timed, Timer},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use wharf_cluster::{
    command::{Command, Envelope},
    state::{Outcome, Reply},
};
use wharf_controller::{
    clock,
    raft::{self, LogStore, RaftConfig, RaftHandle, RaftStatus, RaftThread},
    replica::{Published, Replica},
};
use wharf_proto::codec::encode_command;

pub struct Member {
    id: u64,
    pub handle: RaftHandle<Outcome>,
    pub published: Arc<Published>,
    pub timer: Arc<Timer>,
    thread: RaftThread,
    board: Arc<Board>,
}

impl Member {
    /// The first one of a group.
    pub fn found(path: PathBuf, id: u64, board: &Arc<Board>) -> Result<Self, Failure> {
        raft::bootstrap(&LogStore::open(&path)?, id, b"one")?;
        Ok(Self::start(path, id, board)?.0)
    }

    /// One that waits to be added.
    pub fn join(path: PathBuf, id: u64, board: &Arc<Board>) -> Result<Self, Failure> {
        raft::join(&LogStore::open(&path)?, id)?;
        Ok(Self::start(path, id, board)?.0)
    }

    /// One that was there before, and how long it took to open its file.
    pub fn start(path: impl AsRef<Path>, id: u64, board: &Arc<Board>) -> Result<(Self, Duration), Failure> {
        let begun = Instant::now();
        let store = Arc::new(LogStore::open(path)?);
        let opened = begun.elapsed();
        let (replica, published) = Replica::new(wharf_cluster::level::Level::NEWEST);
        let timer = Arc::new(Timer::default());
        let machine = Timed { replica, timer: timer.clone() };
        let lines = Lines::new(id, board.clone());
        let (handle, thread) = raft::start(RaftConfig::new(id), store, machine, lines)?;
        board.enter(id, handle.clone());
        Ok((Self { id, handle, published, timer, thread, board: board.clone() }, opened))
    }

    pub fn status(&self) -> RaftStatus {
        self.handle.status().borrow().clone()
    }

    pub async fn wait(&self, what: &str, done: impl FnMut(&RaftStatus) -> bool) -> Result<(), Failure> {
        let mut status = self.handle.status();
        let patience = Duration::from_secs(600);
        match tokio::time::timeout(patience, status.wait_for(done)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(format!("{what} never came: {:?}", self.status()).into()),
        }
    }

    pub async fn propose(&self, command: Command) -> Result<Reply, Failure> {
        propose(&self.handle, command).await
    }

    pub async fn stop(self) -> Result<(), Failure> {
        self.board.leave(self.id);
        self.handle.shutdown().await;
        tokio::task::spawn_blocking(|| self.thread.join()).await??;
        Ok(())
    }
}

pub async fn propose(handle: &RaftHandle<Outcome>, command: Command) -> Result<Reply, Failure> {
    let envelope = Envelope { at: clock::now(), request: None, command };
    Ok(handle.propose(encode_command(&envelope)).await?.output?)
}
