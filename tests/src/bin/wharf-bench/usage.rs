//! The processor time that programs take.

use std::{fs, time::Duration};

/// Linux counts processor time in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that these processes have taken so far. One that has gone counts nothing.
pub fn cpu_time(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|pid| of_process(*pid)).sum()
}

/// The processor time that this process has taken so far.
pub fn own_cpu_time() -> Duration {
    of_process(std::process::id()).unwrap_or_default()
}

fn of_process(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks: u32 = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}
