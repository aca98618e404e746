//! What one node does with many replicas, and the memory of every part.

use crate::report::{Report, times};
use std::{fs, time::Instant};
use wharf_tests::{Cluster, Options, TaskView, import_busybox, stack};

/// Replicas that are started at once.
const REPLICAS: usize = 50;
/// How often the start is measured.
const ROUNDS: usize = 5;

/// Measures and prints it.
pub fn measure(report: &mut Report) {
    let cluster = Cluster::with(Options { controllers: 3, agents: 1, ..Options::default() });
    let image = import_busybox(&cluster, "1");
    memory(&cluster, "idle");
    // The image is pulled once, before anything is measured.
    cluster.apply(&stack::sleeper(&image, 1));
    cluster.ok(&["rm", "stack", "idle", "--yes"]);
    gone(&cluster);

    let mut starts = Vec::new();
    let mut removals = Vec::new();
    for round in 0..ROUNDS {
        let file =
            cluster.write("bench.yaml", &stack::sleeper(&image, u32::try_from(REPLICAS).unwrap_or(u32::MAX)));
        let began = Instant::now();
        cluster.ok(&["apply", "--yes", "-f", &file]);
        let took = began.elapsed();
        let running = cluster.running("idle/sleeper");
        assert_eq!(running.len(), REPLICAS, "apply returned before every replica ran");
        starts.push(took);
        if round == 0 {
            memory(&cluster, "with 50 containers");
            shims(&running);
        }
        let began = Instant::now();
        cluster.ok(&["rm", "stack", "idle", "--yes"]);
        gone(&cluster);
        removals.push(began.elapsed());
    }
    times(report, &format!("{REPLICAS} replicas on one node, `wharf apply` until all run"), &starts);
    times(report, &format!("{REPLICAS} replicas removed, `wharf rm` until none is left"), &removals);
}

fn gone(cluster: &Cluster) {
    wharf_tests::within(
        60,
        "every task is gone",
        || cluster.ok(&["get", "tasks", "--all", "-o", "name"]),
        String::is_empty,
    );
}

fn memory(cluster: &Cluster, when: &str) {
    for index in 0..3 {
        if let Some(process) = cluster.controller(index) {
            println!("controller {} {when}: {}", index + 1, resident(process.pid()));
        }
    }
    if let Some(process) = cluster.agent(0) {
        println!("agent {when}: {}", resident(process.pid()));
    }
}

/// Memory of the shims: the parents of the containers' processes.
fn shims(tasks: &[TaskView]) {
    let mut sizes: Vec<u64> =
        tasks.iter().filter_map(|task| parent(task.pid?)).filter_map(|shim| kib(shim, "VmRSS")).collect();
    sizes.sort_unstable();
    if let (Some(largest), Some(middle)) = (sizes.last(), sizes.get(sizes.len() / 2)) {
        println!("a shim: median {middle} KiB, largest {largest} KiB resident ({} shims)", sizes.len());
    }
}

/// The process that started another one.
pub fn parent(pid: u32) -> Option<u32> {
    let status = read(&format!("/proc/{pid}/status"));
    status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|text| text.trim().parse().ok())
}

fn resident(pid: u32) -> String {
    let part = |key| kib(pid, key).unwrap_or(0);
    format!(
        "{:.1} MiB resident ({:.1} MiB of it not shared with files)",
        mib(part("VmRSS")),
        mib(part("RssAnon"))
    )
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn kib(pid: u32, key: &str) -> Option<u64> {
    let status = read(&format!("/proc/{pid}/status"));
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
