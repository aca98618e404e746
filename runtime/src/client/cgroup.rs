//! A container's cgroups as the agent sees them: what is used, who is in them, and their removal.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::api::Stats;
use crate::host::{CgroupMount, HostFacts};

/// Longest wait for killed processes to be gone.
const END: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
/// v1 shows "no limit" as the largest number of pages.
const UNLIMITED: u64 = 1 << 62;

/// A cgroup's directory in a hierarchy.
pub(crate) fn dir(hierarchy: &CgroupMount, cgroup_path: &Path) -> PathBuf {
    hierarchy.path.join(cgroup_path.strip_prefix("/").unwrap_or(cgroup_path))
}

/// The file that counts the processes killed for want of memory.
pub(crate) fn oom_file(host: &HostFacts, cgroup_path: &Path) -> Option<PathBuf> {
    let memory = host.controller_mount("memory")?;
    let name = if memory.v2 { "memory.events" } else { "memory.oom_control" };
    Some(dir(memory, cgroup_path).join(name))
}

/// What a cgroup uses; nothing where the host has no controller that counts it.
pub(crate) fn stats(host: &HostFacts, cgroup_path: &Path) -> Stats {
    let file = |controller: &str, v1: &str, v2: &str| {
        let mount = host.controller_mount(controller)?;
        let text = fs::read_to_string(dir(mount, cgroup_path).join(if mount.v2 { v2 } else { v1 })).ok()?;
        Some((mount.v2, text))
    };
    let number =
        |controller, v1, v2| file(controller, v1, v2).and_then(|(_, text)| text.trim().parse::<u64>().ok());
    let cpu_nanos = match file("cpuacct", "cpuacct.usage", "cpu.stat")
        .or_else(|| file("cpu", "cpuacct.usage", "cpu.stat"))
    {
        Some((true, text)) => field(&text, "usage_usec").unwrap_or(0) * 1000,
        Some((false, text)) => text.trim().parse().unwrap_or(0),
        None => 0,
    };
    let used = number("memory", "memory.usage_in_bytes", "memory.current").unwrap_or(0);
    let reclaimable = file("memory", "memory.stat", "memory.stat")
        .and_then(|(v2, text)| field(&text, if v2 { "inactive_file" } else { "total_inactive_file" }));
    Stats {
        cpu_nanos,
        memory: used.saturating_sub(reclaimable.unwrap_or(0)),
        memory_limit: number("memory", "memory.limit_in_bytes", "memory.max").filter(|l| *l < UNLIMITED),
        pids: number("pids", "pids.current", "pids.current").unwrap_or(0),
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// All processes in a cgroup and those below it, in any hierarchy.
pub(crate) fn processes(host: &HostFacts, cgroup_path: &Path) -> BTreeSet<i32> {
    let mut pids = BTreeSet::new();
    for hierarchy in &host.cgroup_mounts {
        collect(&dir(hierarchy, cgroup_path), &mut pids);
    }
    pids
}

fn collect(dir: &Path, pids: &mut BTreeSet<i32>) {
    let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) else { return };
    // A pid of 0 is a process that this pid namespace can't see.
    pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|p| *p > 0));
    for child in subdirectories(dir) {
        collect(&child, pids);
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Kills all processes of a cgroup, and waits until they are gone.
pub(crate) fn kill_all(host: &HostFacts, cgroup_path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + END;
    loop {
        let pids = processes(host, cgroup_path);
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            // One that has just ended is what we want.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if Instant::now() > deadline {
            let what = format!("{} processes of {} can't be killed", pids.len(), cgroup_path.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Removes a cgroup and those below it from every hierarchy.
pub(crate) fn remove(host: &HostFacts, cgroup_path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + END;
    for hierarchy in &host.cgroup_mounts {
        remove_dir(&dir(hierarchy, cgroup_path), deadline)?;
    }
    Ok(())
}

fn remove_dir(dir: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        let error = match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => error,
        };
        for child in subdirectories(dir) {
            remove_dir(&child, deadline)?;
        }
        // The kernel holds on for a moment after the last process has ended.
        if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
    }
}
