//! How long writes stop when the leader is killed.

use crate::{
    connection::{label, node},
    controllers::{Client, Controllers},
    report::{Report, times},
};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How to measure it.
#[derive(Args, Debug)]
pub struct LeaderKillArgs {
    /// How often the leader is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Clients that write all the time, spread over the three controllers
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=256))]
    writers: u32,
}

/// What a writer waits after an acknowledged write.
const PACE: Duration = Duration::from_millis(2);
/// What it waits after a failed one, before it asks the next controller.
const RETRY: Duration = Duration::from_millis(10);
/// How long a writer waits for an answer before it asks another controller.
const ANSWER: Duration = Duration::from_secs(3);
/// How long writes are watched before a kill, and after they have begun again.
const STEADY: Duration = Duration::from_secs(1);
/// How long writes may stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// When writes were acknowledged.
type Acknowledged = Arc<Mutex<Vec<Instant>>>;

/// Measures and prints it.
pub async fn measure(args: &LeaderKillArgs, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Controllers::start(dir).await?;
    cluster.add_nodes(args.writers as usize).await?;
    let acknowledged = Acknowledged::default();
    let mut writers = JoinSet::new();
    for writer in 0..args.writers as usize {
        let clients = (0..3).map(|index| cluster.lazy_client(index)).collect::<anyhow::Result<Vec<_>>>()?;
        writers.spawn(write(writer, clients, acknowledged.clone()));
    }
    let mut gaps = Vec::new();
    for round in 1..=args.rounds {
        tokio::time::sleep(STEADY).await;
        let leader = cluster.leader().await?;
        acknowledged.lock().expect("nobody panics with it").clear();
        tokio::time::sleep(STEADY).await;
        let killed = Instant::now();
        cluster.kill(leader);
        resumed(&acknowledged, killed).await?;
        tokio::time::sleep(STEADY).await;
        let gap = longest_gap(&acknowledged.lock().expect("nobody panics with it"));
        println!("round {round}: no write was acknowledged for {:.3} s", gap.as_secs_f64());
        gaps.push(gap);
        cluster.restart(leader);
        cluster.settled().await?;
    }
    writers.abort_all();
    times(report, "leader killed, longest gap in acknowledged writes", &gaps);
    report.add("gaps in seconds", &json!(gaps.iter().map(Duration::as_secs_f64).collect::<Vec<_>>()));
    Ok(())
}

/// Writes without end, to the next controller whenever one fails.
async fn write(writer: usize, mut clients: Vec<Client>, acknowledged: Acknowledged) {
    let mut at = writer % clients.len();
    for count in 0u64.. {
        let request = label(&node(writer), count.to_string());
        // The same request until it is acknowledged: it happens once.
        loop {
            let answer = tokio::time::timeout(ANSWER, clients[at].set_node_labels(request.clone())).await;
            if matches!(answer, Ok(Ok(_))) {
                acknowledged.lock().expect("nobody panics with it").push(Instant::now());
                break;
            }
            at = (at + 1) % clients.len();
            tokio::time::sleep(RETRY).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Waits until a write is acknowledged that only a new leader can have committed: one well after the kill.
async fn resumed(acknowledged: &Acknowledged, killed: Instant) -> anyhow::Result<()> {
    let seen = async {
        loop {
            let last = acknowledged.lock().expect("nobody panics with it").last().copied();
            if last.is_some_and(|last| last > killed + Duration::from_millis(100)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .context("no write was acknowledged after the leader was killed")
}

fn longest_gap(acknowledged: &[Instant]) -> Duration {
    let mut times = acknowledged.to_vec();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
