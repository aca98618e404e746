//! Limits on a cgroup v1 host without a devices controller: libcontainer insists on that one as soon
//! as there is any limit, so that the others are set by the shim there.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::LinuxResources;

use super::cgroup::dir;
use crate::host::HostFacts;

/// The files to write, in order, once the cgroup has been made.
pub(crate) fn v1_files(
    resources: &LinuxResources,
    host: &HostFacts,
    cgroup_path: &Path,
) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut set = |controller: &str, name: &str, value: Option<String>| {
        if let (Some(mount), Some(value)) = (host.controller_mount(controller), value) {
            files.push((dir(mount, cgroup_path).join(name), value));
        }
    };
    if let Some(memory) = resources.memory() {
        // Memory before memory and swap, which must not be less.
        set("memory", "memory.limit_in_bytes", memory.limit().map(|v| v.to_string()));
        set("memory", "memory.memsw.limit_in_bytes", memory.swap().map(|v| v.to_string()));
        set("memory", "memory.soft_limit_in_bytes", memory.reservation().map(|v| v.to_string()));
    }
    if let Some(cpu) = resources.cpu() {
        set("cpu", "cpu.shares", cpu.shares().map(|v| v.to_string()));
        set("cpu", "cpu.cfs_period_us", cpu.period().map(|v| v.to_string()));
        set("cpu", "cpu.cfs_quota_us", cpu.quota().map(|v| v.to_string()));
    }
    set("pids", "pids.max", resources.pids().as_ref().map(|p| p.limit().to_string()));
    files
}
