//! How long a change takes to reach every watcher.

use crate::{
    connection::{label, node},
    controllers::{Client, Controllers},
    load::{histogram, micros},
    report::Report,
};
use anyhow::{Context, bail};
use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::Streaming;
use wharf_proto::v1::{GetRequest, Kind, WatchResponse, object::Object, watch_response::Change};

/// How to measure watching.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Watchers, all of the same node
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    watchers: u32,

    /// Connections that they share, spread over the three controllers
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(3..=1000))]
    connections: u16,

    /// Changes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    events: u32,

    /// Milliseconds between two changes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    interval: u64,
}

/// How long the last change may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(30);

/// When each change was sent and acknowledged.
type Sent = Arc<Mutex<Vec<(Instant, Option<Instant>)>>>;

/// What one watcher has seen: the change's number, and when.
type Seen = Vec<(usize, Instant)>;

/// Measures and prints it.
pub async fn measure(args: &WatchArgs, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Controllers::start(dir).await?;
    cluster.add_nodes(1).await?;
    let mut clients: Vec<Client> = Vec::new();
    for connection in 0..usize::from(args.connections) {
        clients.push(cluster.client(connection % 3).await?);
    }
    let (ready, mut readied) = mpsc::channel(args.watchers as usize);
    let last = args.events as usize - 1;
    let mut watchers = JoinSet::new();
    for number in 0..args.watchers as usize {
        let mut client = clients[number % clients.len()].clone();
        let ready = ready.clone();
        watchers.spawn(async move {
            let names = vec![node(0)];
            let request = GetRequest { kind: Kind::Node.into(), names, ..GetRequest::default() };
            let stream = client.watch(request).await?.into_inner();
            follow(stream, last, ready).await
        });
    }
    for _ in 0..args.watchers {
        readied.recv().await.context("a watcher could not begin")?;
    }
    let sent: Sent = Arc::default();
    let mut writer = cluster.client(cluster.leader().await?).await?;
    for number in 0..args.events {
        tokio::time::sleep(Duration::from_millis(args.interval)).await;
        sent.lock().expect("nobody panics with it").push((Instant::now(), None));
        writer.set_node_labels(label(&node(0), number.to_string())).await?;
        if let Some(last) = sent.lock().expect("nobody panics with it").last_mut() {
            last.1 = Some(Instant::now());
        }
    }
    let all = tokio::time::timeout(PATIENCE, async {
        let mut all: Vec<Seen> = Vec::new();
        while let Some(ended) = watchers.join_next().await {
            all.push(ended??);
        }
        anyhow::Ok(all)
    });
    let all = all.await.context("the last change did not reach every watcher")??;
    tell(args, &all, &sent.lock().expect("nobody panics with it"), report)
}

/// Follows one watcher's stream until the last change has come.
async fn follow(
    mut stream: Streaming<WatchResponse>,
    last: usize,
    ready: mpsc::Sender<()>,
) -> anyhow::Result<Seen> {
    let mut seen = Seen::new();
    while let Some(response) = stream.message().await? {
        let now = Instant::now();
        match response.change() {
            Change::Bookmark => ready.send(()).await.context("nobody waits for the watchers")?,
            Change::Modified => {
                let Some(Object::Node(node)) = response.object.and_then(|object| object.object) else {
                    continue;
                };
                let Some(number) = node.labels.get("bench") else { continue };
                let number = number.parse().context("a label that nobody wrote")?;
                // A node changes for other reasons as well.
                if seen.last().is_none_or(|(before, _)| *before < number) {
                    seen.push((number, now));
                }
                if number == last {
                    return Ok(seen);
                }
            }
            _ => {}
        }
    }
    bail!("a watcher's stream ended")
}

fn tell(
    args: &WatchArgs,
    all: &[Seen],
    sent: &[(Instant, Option<Instant>)],
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut from_send, mut from_ack) = (histogram()?, histogram()?);
    for (number, at) in all.iter().flatten() {
        let (began, acknowledged) = sent[*number];
        from_send.record(micros(*at - began)).context("a time is out of bounds")?;
        let acknowledged = acknowledged.unwrap_or(began);
        from_ack
            .record(micros(at.saturating_duration_since(acknowledged)))
            .context("a time is out of bounds")?;
    }
    let arrived = all.iter().map(Vec::len).sum::<usize>();
    let merged = all.len() * args.events as usize - arrived;
    println!(
        "{} watchers on {} connections to three controllers, {} changes, one every {} ms: {arrived} arrivals, {merged} \
         merged into a later one",
        args.watchers, args.connections, args.events, args.interval
    );
    for (what, times) in [("the write's sending", &from_send), ("its acknowledgement", &from_ack)] {
        let [p50, p99, max] = figures(times);
        println!("from {what} to a watcher: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
        report.add(&format!("watch, from {what}"), &json!({ "p50_ms": p50, "p99_ms": p99, "max_ms": max }));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn figures(times: &Histogram<u64>) -> [f64; 3] {
    [times.value_at_quantile(0.5), times.value_at_quantile(0.99), times.max()]
        .map(|micros| micros as f64 / 1000.0)
}
