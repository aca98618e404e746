//! What this machine offers to containers, found out once when the agent starts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How the host's control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupMode {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy for all controllers.
    V2,
    /// Controllers as in v1, and a v2 hierarchy without controllers beside them.
    Hybrid,
    /// None: limits can't be held.
    None,
}

impl CgroupMode {
    /// The word shown in a node's description.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::None => "none",
        }
    }
}

/// Processor family, for what depends on it in a seccomp profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
    /// Another one.
    Other,
}

/// What this machine offers to containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// How control groups are mounted.
    pub cgroup_mode: CgroupMode,
    /// The controllers that can be used, by name, and where each is mounted.
    pub cgroup_mounts: Vec<CgroupMount>,
    /// Swap can be limited together with memory.
    pub swap_accounting: bool,
    /// The kernel can filter system calls.
    pub seccomp: bool,
    /// AppArmor is active.
    pub apparmor: bool,
    /// Processor family.
    pub arch: Arch,
    /// Kernel version: major, minor.
    pub kernel: (u32, u32),
    /// Processors online.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Capabilities this process can hand to a container, as `CAP_...`.
    pub capabilities: BTreeSet<String>,
}

/// A mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    /// Controllers in it; empty for a named or the hybrid's v2 hierarchy.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub path: PathBuf,
    /// It is a v2 hierarchy.
    pub v2: bool,
}

impl HostFacts {
    /// Looks at this machine.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn detect() -> std::io::Result<Self> {
        let mounts = cgroup_mounts(&fs::read_to_string("/proc/self/mountinfo")?);
        let status = fs::read_to_string("/proc/self/status")?;
        let uname = nix::sys::utsname::uname()?;
        Ok(Self {
            cgroup_mode: cgroup_mode(&mounts),
            swap_accounting: swap_accounting(&mounts),
            cgroup_mounts: mounts,
            seccomp: status.lines().any(|l| l.starts_with("Seccomp:")),
            apparmor: fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|s| s.starts_with('Y')),
            arch: match std::env::consts::ARCH {
                "x86_64" => Arch::Amd64,
                "aarch64" => Arch::Arm64,
                _ => Arch::Other,
            },
            kernel: kernel_version(&uname.release().to_string_lossy()),
            cpus: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            memory: memory_total(&fs::read_to_string("/proc/meminfo")?),
            capabilities: capabilities(&status),
        })
    }

    /// Whether a controller such as `memory` can be used.
    #[must_use]
    pub fn has_controller(&self, name: &str) -> bool {
        self.controller_mount(name).is_some()
    }

    /// The hierarchy that a controller is in.
    #[must_use]
    pub fn controller_mount(&self, name: &str) -> Option<&CgroupMount> {
        self.cgroup_mounts.iter().find(|m| m.controllers.iter().any(|c| c == name))
    }
}

fn cgroup_mode(mounts: &[CgroupMount]) -> CgroupMode {
    let v1 = mounts.iter().any(|m| !m.v2 && !m.controllers.is_empty());
    let v2 = mounts.iter().any(|m| m.v2);
    match (v1, v2) {
        (true, true) => CgroupMode::Hybrid,
        (true, false) => CgroupMode::V1,
        (false, true) => CgroupMode::V2,
        (false, false) => CgroupMode::None,
    }
}

/// The hierarchies in a `mountinfo`: the first mount of each that shows its root.
fn cgroup_mounts(mountinfo: &str) -> Vec<CgroupMount> {
    let mut mounts: Vec<CgroupMount> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut before = before.split(' ').skip(3);
        let (Some(root), Some(path)) = (before.next(), before.next()) else { continue };
        let mut after = after.split(' ');
        let (Some(kind), Some(options)) = (after.next(), after.nth(1)) else { continue };
        let path = PathBuf::from(path);
        let mount = match kind {
            "cgroup2" => CgroupMount { controllers: v2_controllers(&path), path, v2: true },
            "cgroup" => CgroupMount { controllers: v1_controllers(options), path, v2: false },
            _ => continue,
        };
        let known = mounts.iter().any(|m| {
            m.v2 == mount.v2 && m.controllers == mount.controllers && (m.v2 || !m.controllers.is_empty())
        });
        if root == "/" && !known {
            mounts.push(mount);
        }
    }
    mounts
}

fn v2_controllers(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn v1_controllers(options: &str) -> Vec<String> {
    const KNOWN: [&str; 13] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
        "rdma",
    ];
    options.split(',').filter(|o| KNOWN.contains(o)).map(str::to_owned).collect()
}

/// v1 can be booted without it; v2 always has it where there is a memory controller.
fn swap_accounting(mounts: &[CgroupMount]) -> bool {
    let memory = mounts.iter().find(|m| m.controllers.iter().any(|c| c == "memory"));
    memory.is_some_and(|m| m.v2 || m.path.join("memory.memsw.limit_in_bytes").exists())
}

fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn memory_total(meminfo: &str) -> u64 {
    let kib =
        meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok());
    kib.unwrap_or(0u64) * 1024
}

/// A container's capabilities must be permitted to and in the bounding set of the process that starts it.
fn capabilities(status: &str) -> BTreeSet<String> {
    let mask = |key: &str| {
        let hex = status.lines().find_map(|l| l.strip_prefix(key));
        hex.and_then(|h| u64::from_str_radix(h.trim(), 16).ok()).unwrap_or(0)
    };
    let usable = mask("CapBnd:") & mask("CapPrm:");
    caps::all().into_iter().filter(|c| usable & c.bitmask() != 0).map(|c| c.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 23 0:20 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
25 24 0:21 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
26 24 0:22 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
27 24 0:23 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
28 24 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
29 24 0:22 /docker/1 /elsewhere/memory rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn a_hybrid_host_is_seen_as_one() {
        let mounts = cgroup_mounts(HYBRID);
        assert_eq!(cgroup_mode(&mounts), CgroupMode::Hybrid);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[0].controllers, ["cpu", "cpuacct"]);
    }

    #[test]
    fn modes_follow_from_what_is_mounted() {
        let pure_v2 = cgroup_mounts("28 24 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(cgroup_mode(&pure_v2), CgroupMode::V2);
        let v1 = cgroup_mounts("26 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        assert_eq!(cgroup_mode(&v1), CgroupMode::V1);
        assert_eq!(cgroup_mode(&cgroup_mounts("garbage\n\n - \n")), CgroupMode::None);
    }

    #[test]
    fn versions_and_memory_are_read() {
        assert_eq!(kernel_version("6.18.44-fc-v769"), (6, 18));
        assert_eq!(kernel_version("5.15.0-92-generic"), (5, 15));
        assert_eq!(memory_total("MemTotal:       24105 kB\nMemFree: 1 kB\n"), 24105 * 1024);
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let facts = HostFacts::detect().unwrap();
        assert!(facts.cpus > 0 && facts.memory > 0 && facts.kernel.0 >= 4);
    }
}
