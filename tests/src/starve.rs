//! A program that hardly gets any processor time.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Length of the periods that processor time is shared out in, in microseconds.
const PERIOD: u64 = 500_000;

/// A program with a small share of one processor. What it started before, its containers among them, has all it wants.
#[derive(Debug)]
pub struct Starved {
    group: PathBuf,
    parent: PathBuf,
    pid: u32,
}

impl Starved {
    /// Leaves the program `pid` so many thousandths of one processor.
    ///
    /// # Panics
    /// When the kernel's cpu cgroup can't be used.
    #[must_use]
    pub fn begin(pid: u32, thousandths: u64) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        let parent = if unified { root.to_owned() } else { root.join("cpu") };
        let group = parent.join(format!("wharf-test-starved-{pid}"));
        if unified {
            write(&root.join("cgroup.subtree_control"), "+cpu");
        }
        fs::create_dir(&group).expect("root may make a cgroup (the cpu controller is needed)");
        // From here on it is removed again, whatever fails.
        let starved = Starved { group, parent, pid };
        let group = &starved.group;
        let quota = PERIOD * thousandths / 1000;
        if unified {
            write(&group.join("cpu.max"), &format!("{quota} {PERIOD}"));
        } else {
            write(&group.join("cpu.cfs_period_us"), &PERIOD.to_string());
            write(&group.join("cpu.cfs_quota_us"), &quota.to_string());
        }
        write(&group.join("cgroup.procs"), &pid.to_string());
        starved
    }

    /// How often it wanted to run and was not let.
    ///
    /// # Panics
    /// When the kernel doesn't say.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let stat = fs::read_to_string(self.group.join("cpu.stat")).expect("a cgroup has statistics");
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.and_then(|text| text.trim().parse().ok()).expect("a limited cgroup counts its limits")
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        // What it started meanwhile is in the group too.
        let members = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().chain([self.pid.to_string().as_str()]) {
            // One that has ended is nowhere.
            let _ = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("remove {}: {error}", self.group.display());
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("write {text} to {}: {error}", path.display()));
}
