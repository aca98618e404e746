//! The figures that people are promised, measured on real processes on this machine. Each subcommand measures one
//! thing and says which; run it as root, after `cargo build --release --bins`:
//! `cargo run --release -p wharf-tests --bin wharf-bench -- writes --json writes.json`.

mod clusters;
mod connection;
mod controllers;
mod etcd;
mod fsync;
mod leader_kill;
mod load;
mod node;
mod node_lost;
mod rates;
mod report;
mod usage;
mod watch;

use anyhow::Context;
use clap::{Parser, Subcommand};
use report::Report;
use std::path::PathBuf;

/// Measures Wharf on this machine, with real processes, real TLS and real fsync.
#[derive(Parser, Debug)]
#[command(name = "wharf-bench", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    what: What,

    /// Also write the results to this file, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Keep the measured programs' data in this folder, whose disk then counts; the system's folder for temporary
    /// files, unless given
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// 50 replicas of a pulled image on one node: from `wharf apply` until all run, and until all are gone again; the
    /// memory of controllers, agent and shims
    Node,
    /// Committed writes a second through the public API (SetNodeLabels: one label with a value of 100 bytes, each
    /// client on a node of its own), beside etcd 3.4 (Put of 100 bytes, each client on a key of its own): three members
    /// each, on loopback, TLS everywhere, the same client and the same number of connections, rounds interleaved
    Writes(rates::RateArgs),
    /// Linearizable reads a second (Get of one node by its name), beside etcd 3.4 (Range of one key), as `writes` does
    Reads(rates::RateArgs),
    /// How long a change takes to reach each of 1,000 watchers spread over three controllers
    Watch(watch::WatchArgs),
    /// The longest gap in acknowledged writes when the leader is killed with SIGKILL
    LeaderKill(leader_kill::LeaderKillArgs),
    /// How long it takes until the tasks of a node that is lost (cut off, or killed with its containers) run elsewhere
    NodeLost(node_lost::NodeLostArgs),
}

fn main() -> anyhow::Result<()> {
    let Cli { what, json, dir } = Cli::parse();
    let dir = dir.unwrap_or_else(std::env::temp_dir);
    let mut report = Report::begin();
    match what {
        What::Node => node::measure(&mut report),
        What::Writes(args) => runtime()?.block_on(rates::writes(&args, &dir, &mut report))?,
        What::Reads(args) => runtime()?.block_on(rates::reads(&args, &dir, &mut report))?,
        What::Watch(args) => runtime()?.block_on(watch::measure(&args, &dir, &mut report))?,
        What::LeaderKill(args) => runtime()?.block_on(leader_kill::measure(&args, &dir, &mut report))?,
        What::NodeLost(args) => node_lost::measure(&args, &mut report),
    }
    report.finish(json.as_deref())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}
