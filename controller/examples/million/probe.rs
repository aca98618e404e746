//! How long a replica lets one wait.

use crate::member::{Member, propose};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use wharf_cluster::{command::Command, ids::NodeId};

/// Something done again and again.
pub struct Probe {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Probe {
    fn again<F: Future<Output = bool> + Send>(
        pause: Duration,
        mut act: impl FnMut(u64) -> F + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut took, mut round) = (Vec::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if act(round).await {
                    took.push(begun.elapsed());
                }
                round += 1;
                tokio::time::sleep(pause).await;
            }
            took
        });
        Probe { stop, task }
    }

    /// Reads, which a sole voter answers without its disk: the replica's thread alone.
    fn reads(member: &Member) -> Self {
        let handle = member.handle.clone();
        Self::again(Duration::from_millis(1), move |_| {
            let handle = handle.clone();
            async move { handle.read_index().await.is_ok() }
        })
    }

    /// Small writes.
    fn writes(member: &Member) -> Self {
        Self::labels(member, Duration::from_millis(2), 10)
    }

    /// Large writes, one after the other, until a snapshot pays.
    pub fn pump(member: &Member) -> Self {
        Self::labels(member, Duration::ZERO, 50_000)
    }

    fn labels(member: &Member, pause: Duration, size: usize) -> Self {
        let handle = member.handle.clone();
        let node = member.published.state().nodes().next().map_or(NodeId(0), |node| node.id);
        Self::again(pause, move |round| {
            let handle = handle.clone();
            async move {
                let set = [("probe".to_owned(), format!("{round:0size$}"))].into();
                propose(&handle, Command::SetNodeLabels { node, set, remove: Vec::new() }).await.is_ok()
            }
        })
    }

    pub async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.task.await.unwrap_or_default();
        took.sort_unstable();
        took
    }
}

/// A replica under watch.
pub struct Watched {
    reads: Probe,
    writes: Probe,
}

impl Watched {
    pub fn of(member: &Member) -> Self {
        Watched { reads: Probe::reads(member), writes: Probe::writes(member) }
    }

    pub async fn report(self, when: &str) {
        for (what, took) in
            [("the replica's thread", self.reads.stop().await), ("a write", self.writes.stop().await)]
        {
            let at = |share: usize| took.get((took.len() * share / 1000).min(took.len().saturating_sub(1)));
            let [half, most, all] = [500, 990, 1000].map(|share| at(share).copied().unwrap_or_default());
            println!(
                "  {when}: {what} answers in {half:.2?} (p50), {most:.2?} (p99), at most {all:.2?}; {} asked",
                took.len()
            );
        }
    }
}
