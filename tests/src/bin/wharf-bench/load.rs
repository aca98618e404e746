//! Clients that each ask again as soon as they are answered.

use crate::{
    connection::{Connection, Operation},
    usage::{cpu_time, own_cpu_time},
};
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Longest time that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// How to load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is asked.
    pub operation: Operation,
    /// Clients, each with one operation under way.
    pub clients: usize,
    /// Time before anything counts.
    pub warm_up: Duration,
    /// Time that counts.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Operations a second.
    pub rate: f64,
    /// Half were answered within this time, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 were.
    pub p99_us: u64,
    /// All were.
    pub max_us: u64,
    /// Processor time of all servers for one operation, in microseconds.
    pub server_cpu_us: f64,
    /// Processor time of the clients for one operation.
    pub client_cpu_us: f64,
    /// Processors that servers and clients kept busy.
    pub busy_cpus: f64,
}

/// An empty histogram of microseconds.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, 3).context("the histogram's bounds are wrong")
}

/// Microseconds, as the histogram takes them.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST)
}

/// Loads the servers, whose processes are `pids`, over `connections`, which the clients share evenly.
pub async fn run(connections: &[Connection], load: Load, pids: &[u32]) -> anyhow::Result<Measured> {
    let from = Instant::now() + load.warm_up;
    let until = from + load.time;
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        let connection = connections[client % connections.len()].clone();
        clients.spawn(one_client(connection, load.operation, client, from, until));
    }
    tokio::time::sleep_until(from.into()).await;
    let before = (cpu_time(pids), own_cpu_time());
    tokio::time::sleep_until(until.into()).await;
    let after = (cpu_time(pids), own_cpu_time());
    let mut all = histogram()?;
    while let Some(ended) = clients.join_next().await {
        all.add(ended??).context("histograms of one kind can be added")?;
    }
    if all.is_empty() {
        bail!("nothing was answered within {} s", load.time.as_secs());
    }
    let (servers, own) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let operations = float(all.len());
    Ok(Measured {
        rate: operations / load.time.as_secs_f64(),
        p50_us: all.value_at_quantile(0.5),
        p99_us: all.value_at_quantile(0.99),
        max_us: all.max(),
        server_cpu_us: servers.as_secs_f64() * 1e6 / operations,
        client_cpu_us: own.as_secs_f64() * 1e6 / operations,
        busy_cpus: (servers + own).as_secs_f64() / load.time.as_secs_f64(),
    })
}

async fn one_client(
    mut connection: Connection,
    operation: Operation,
    client: usize,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut times = histogram()?;
    // No run writes what the one before has left: a write that changes nothing would be less work.
    let first = fastrand::u64(0..u64::from(u32::MAX)) << 20;
    for count in first.. {
        let began = Instant::now();
        if began >= until {
            break;
        }
        connection.call(operation, client, count).await.context("an operation failed")?;
        let ended = Instant::now();
        if ended >= from && ended < until {
            times.record(micros(ended - began)).context("a time is out of bounds")?;
        }
    }
    Ok(times)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn float(number: u64) -> f64 {
    number as f64
}
