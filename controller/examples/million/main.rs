//! What a state of a million tasks costs a controller: memory, snapshots, a follower's way to it, a restart.
//!
//! `cargo run --release -p wharf-controller --example million`; tasks, services, nodes and a directory for the logs can
//! be given: `-- 1000000 1000 10000 /var/tmp/million`. Real Raft on real files; only the network is inside the process.

mod lines;
mod load;
mod member;
mod probe;
mod timed;

use load::Size;
use member::Member;
use probe::{Probe, Watched};
use std::{
    path::{Path, PathBuf},
    process::Command as Process,
    sync::Arc,
    time::{Duration, Instant},
};
use timed::Step;
use wharf_cluster::{
    orchestrator::{Limits, Scope, reconcile},
    scheduler::schedule,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Commands after the last snapshot, which a restart has to apply.
const TAIL: usize = 20_000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [restart, path] = &arguments[..]
        && restart == "restart"
    {
        return runtime.block_on(started_again(Path::new(path)));
    }
    let number = |at: usize, default| match arguments.get(at) {
        Some(text) => text.parse::<usize>().map_err(|_| format!("{text} is not a number")),
        None => Ok(default),
    };
    let size = Size { tasks: number(0, 1_000_000)?, services: number(1, 1_000)?, nodes: number(2, 10_000)? };
    let made = tempfile::tempdir()?;
    let dir = arguments.get(3).map_or(made.path().to_owned(), PathBuf::from);
    runtime.block_on(measure(&dir, size))?;
    // In a process of its own, whose memory only a restart has used.
    let status = Process::new(std::env::current_exe()?).arg("restart").arg(dir.join("1.redb")).status()?;
    if status.success() { Ok(()) } else { Err("the restart failed".into()) }
}

async fn measure(dir: &Path, size: Size) -> Result<(), Failure> {
    let board = Arc::default();
    let before = resident("VmRSS:");
    let begun = Instant::now();
    let one = Member::found(dir.join("1.redb"), 1, &board)?;
    one.wait("a leader", |status| status.leading).await?;
    load::build(&one, size).await?;
    let grown = resident("VmRSS:").saturating_sub(before);
    println!(
        "built in {:.1?}: {} MiB resident, {} bytes a task; at most {} MiB on the way",
        begun.elapsed(),
        grown >> 20,
        grown / size.tasks.max(1) as u64,
        resident("VmHWM:") >> 20,
    );

    let watched = Watched::of(&one);
    tokio::time::sleep(Duration::from_secs(3)).await;
    watched.report("nothing else going on").await;

    let known = one.status().snapshot_index;
    let steps = one.timer.count(Step::Captured);
    let pump = Probe::pump(&one);
    while one.timer.count(Step::Captured) == steps {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pump.stop().await;
    let (begun, watched) = (Instant::now(), Watched::of(&one));
    one.wait("a snapshot", |status| status.snapshot_index > known).await?;
    println!(
        "a snapshot in {:.2?}: {} MiB; captured on the replica's thread in {:.0?}, file {} MiB",
        begun.elapsed(),
        one.timer.bytes() >> 20,
        one.timer.last(Step::Captured),
        std::fs::metadata(dir.join("1.redb"))?.len() >> 20,
    );
    // The log's entries that it covers go with the next write.
    tokio::time::sleep(Duration::from_secs(1)).await;
    watched.report("while it was made and the log cut").await;

    let term = one.status().term;
    let watched = Watched::of(&one);
    let begun = Instant::now();
    let two = Member::join(dir.join("2.redb"), 2, &board)?;
    one.handle.add_learner(2, b"two".to_vec()).await?;
    two.wait("a snapshot", |status| status.snapshot_index > 0).await?;
    let arrived = begun.elapsed();
    let last = one.status().last_index;
    two.wait("all of it", |status| status.applied >= last).await?;
    println!(
        "an empty follower: the snapshot there after {arrived:.2?}, read in {:.2?}, put in force in {:.0?}, caught up \
         after {:.2?}; the leader's term {}",
        two.timer.last(Step::Decoded),
        two.timer.last(Step::Restored),
        begun.elapsed(),
        if one.status().term == term { "stayed" } else { "changed" },
    );
    watched.report("on the leader meanwhile").await;
    two.stop().await?;
    load::small_writes(&one, TAIL).await?;
    one.stop().await
}

/// A controller starts from what is on its disk.
async fn started_again(path: &Path) -> Result<(), Failure> {
    let board = Arc::default();
    let begun = Instant::now();
    let (one, opened) = Member::start(path, 1, &board)?;
    let restored = begun.elapsed();
    let status = one.status();
    let (last, snapshot) = (status.last_index, status.snapshot_index);
    one.wait("all of the log", |status| status.applied >= last).await?;
    println!(
        "a restart in {:.2?} ({:.2?} of processors): file opened and checked after {opened:.2?}, log and snapshot read after {restored:.2?} \
         (the snapshot in {:.2?}), then {} entries applied; {} MiB resident, at most {} MiB on the way",
        begun.elapsed(),
        processor_time(),
        one.timer.last(Step::Decoded),
        last - snapshot,
        resident("VmRSS:") >> 20,
        resident("VmHWM:") >> 20,
    );
    let state = one.published.state();
    let tasks = state.task_count() as u64;
    println!("{tasks} tasks: {} bytes each", resident("VmRSS:") / tasks.max(1));
    let (now, begun, before) = (state.now().plus(1), Instant::now(), processor_time());
    let plan = reconcile(&state, &Scope::All, now, &Limits::default());
    println!(
        "a new leader's first look: orchestrators {:.2?} ({:.2?} of processors, {} commands), scheduler {:.2?}",
        begun.elapsed(),
        processor_time().saturating_sub(before),
        plan.commands.len(),
        timed::took(|| drop(schedule(&state))),
    );
    one.stop().await
}

/// Processor time that this process has used: a machine that is busy otherwise tells more by it than by the clock.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A line of the process's status, in bytes.
fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default();
    value.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}
