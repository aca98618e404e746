//! System call filters: profiles in Docker's form, whose rules can depend on the processor, the
//! kernel and the container's capabilities, and what becomes of them for one container.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use libcontainer::oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;

use super::Seccomp;
use super::error::SpecError;
use super::seccomp_default::default_profile;
use crate::host::{Arch, HostFacts};

const MAX_PROFILE: u64 = 1024 * 1024;

/// A profile as Docker's `--security-opt seccomp=FILE` takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    pub(crate) default_action: LinuxSeccompAction,
    #[serde(default)]
    pub(crate) default_errno_ret: Option<u32>,
    #[serde(default)]
    pub(crate) architectures: Option<Vec<OciArch>>,
    #[serde(default)]
    pub(crate) arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    pub(crate) flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    pub(crate) syscalls: Vec<Rule>,
}

/// The architectures whose programs a processor can also run.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchMap {
    pub(crate) architecture: OciArch,
    #[serde(default)]
    pub(crate) sub_architectures: Option<Vec<OciArch>>,
}

/// What happens on some system calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    /// Older profiles name one call.
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    pub(crate) action: LinuxSeccompAction,
    #[serde(default)]
    pub(crate) errno_ret: Option<u32>,
    #[serde(default)]
    pub(crate) args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    pub(crate) includes: Filter,
    #[serde(default)]
    pub(crate) excludes: Filter,
}

/// When a rule holds, or does not.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Filter {
    pub(crate) caps: Vec<String>,
    pub(crate) arches: Vec<String>,
    pub(crate) min_kernel: Option<String>,
}

/// The filter of a container with these capabilities on this host.
pub(crate) fn oci_seccomp(
    wanted: &Seccomp,
    capabilities: &BTreeSet<String>,
    host: &HostFacts,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    static DEFAULT: LazyLock<Profile> = LazyLock::new(default_profile);
    match wanted {
        Seccomp::Unconfined => Ok(None),
        // As Docker does: a kernel without filters runs containers without the default one.
        Seccomp::Default if !host.seccomp || host.arch == Arch::Other => Ok(None),
        Seccomp::Default => Ok(Some(resolve(&DEFAULT, capabilities, host))),
        Seccomp::File(path) if !host.seccomp => {
            let reason = "can't be used: the kernel has no seccomp".to_owned();
            Err(SpecError::File { path: path.display().to_string(), reason })
        }
        Seccomp::File(path) => Ok(Some(resolve(&load(path)?, capabilities, host))),
    }
}

fn load(path: &Path) -> Result<Profile, SpecError> {
    let failed = |reason: String| SpecError::File { path: path.display().to_string(), reason };
    let mut text = String::new();
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    file.take(MAX_PROFILE + 1).read_to_string(&mut text).map_err(|e| failed(e.to_string()))?;
    if text.len() as u64 > MAX_PROFILE {
        return Err(failed(format!("is larger than {MAX_PROFILE} bytes")));
    }
    serde_json::from_str(&text).map_err(|e| failed(format!("is not a seccomp profile: {e}")))
}

fn resolve(profile: &Profile, capabilities: &BTreeSet<String>, host: &HostFacts) -> LinuxSeccomp {
    let mut syscalls = Vec::new();
    for rule in &profile.syscalls {
        if !included(&rule.includes, capabilities, host) || excluded(&rule.excludes, capabilities, host) {
            continue;
        }
        let mut syscall = LinuxSyscall::default();
        syscall.set_names(rule.name.iter().chain(&rule.names).cloned().collect());
        syscall.set_action(rule.action).set_errno_ret(rule.errno_ret);
        syscall.set_args(rule.args.clone().filter(|a| !a.is_empty()));
        syscalls.push(syscall);
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(architectures(profile, host))
        .set_flags(profile.flags.clone())
        .set_syscalls(Some(syscalls));
    seccomp
}

fn architectures(profile: &Profile, host: &HostFacts) -> Option<Vec<OciArch>> {
    let native = match host.arch {
        Arch::Amd64 => OciArch::ScmpArchX86_64,
        Arch::Arm64 => OciArch::ScmpArchAarch64,
        Arch::Other => OciArch::ScmpArchNative,
    };
    let map = profile.arch_map.iter().flatten().find(|m| m.architecture == native);
    match map {
        Some(map) => {
            let mut all = vec![native];
            all.extend(map.sub_architectures.iter().flatten().copied());
            Some(all)
        }
        None => profile.architectures.clone(),
    }
}

/// Docker: one of the arches, all of the capabilities, and a kernel at least as new.
fn included(filter: &Filter, capabilities: &BTreeSet<String>, host: &HostFacts) -> bool {
    let arch = filter.arches.is_empty() || has_arch(filter, host);
    let kernel = filter.min_kernel.as_ref().is_none_or(|k| host.kernel >= version(k));
    arch && kernel && filter.caps.iter().all(|c| capabilities.contains(c))
}

/// Docker: any of the arches, any of the capabilities, or a kernel at least as new.
fn excluded(filter: &Filter, capabilities: &BTreeSet<String>, host: &HostFacts) -> bool {
    let kernel = filter.min_kernel.as_ref().is_some_and(|k| host.kernel >= version(k));
    has_arch(filter, host) || kernel || filter.caps.iter().any(|c| capabilities.contains(c))
}

fn has_arch(filter: &Filter, host: &HostFacts) -> bool {
    let name = match host.arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
        Arch::Other => return false,
    };
    filter.arches.iter().any(|a| a == name)
}

fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostFacts {
        HostFacts {
            cgroup_mode: crate::host::CgroupMode::V2,
            cgroup_mounts: Vec::new(),
            swap_accounting: true,
            seccomp: true,
            apparmor: false,
            arch: Arch::Amd64,
            kernel: (6, 1),
            cpus: 1,
            memory: 1,
            capabilities: BTreeSet::new(),
        }
    }

    fn default_with(caps: &[&str]) -> LinuxSeccomp {
        let caps = caps.iter().map(|c| (*c).to_owned()).collect();
        oci_seccomp(&Seccomp::Default, &caps, &host()).unwrap().unwrap()
    }

    fn rules(seccomp: &LinuxSeccomp, name: &str) -> Vec<LinuxSyscall> {
        let all = seccomp.syscalls().as_ref().unwrap();
        all.iter().filter(|s| s.names().iter().any(|n| n == name)).cloned().collect()
    }

    #[test]
    fn the_default_denies_what_needs_capabilities() {
        let plain = default_with(&[]);
        assert_eq!(plain.default_action(), LinuxSeccompAction::ScmpActErrno);
        for denied in ["mount", "unshare", "bpf", "reboot", "ptrace_never", "keyctl", "io_uring_setup"] {
            assert!(rules(&plain, denied).is_empty(), "{denied}");
        }
        assert!(!rules(&plain, "read").is_empty());
        let clone3 = &rules(&plain, "clone3")[0];
        assert_eq!(clone3.errno_ret(), Some(38), "glibc falls back to clone only on ENOSYS");
        let clone = &rules(&plain, "clone")[0];
        assert!(clone.args().is_some(), "no new namespaces through clone");
    }

    #[test]
    fn capabilities_open_it() {
        let admin = default_with(&["CAP_SYS_ADMIN"]);
        assert!(!rules(&admin, "mount").is_empty());
        assert!(rules(&admin, "clone").iter().all(|r| r.args().is_none()));
        assert!(rules(&admin, "clone3").iter().all(|r| r.errno_ret().is_none()));
    }

    #[test]
    fn architecture_matters() {
        let amd64 = default_with(&[]);
        assert!(!rules(&amd64, "arch_prctl").is_empty());
        assert_eq!(amd64.architectures().as_ref().unwrap().len(), 3);
        let arm = HostFacts { arch: Arch::Arm64, ..host() };
        let arm64 = oci_seccomp(&Seccomp::Default, &BTreeSet::new(), &arm).unwrap().unwrap();
        assert!(rules(&arm64, "arch_prctl").is_empty());
        assert!(!rules(&arm64, "cacheflush").is_empty());
    }

    #[test]
    fn a_profile_file_in_dockers_form_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64",
            "subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[
            {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":13,"comment":"x","includes":{},"excludes":{}},
            {"name":"chmod","action":"SCMP_ACT_ERRNO","args":[],"includes":{"minKernel":"99.0"}}]}"#;
        std::fs::write(&path, text).unwrap();
        let seccomp = oci_seccomp(&Seccomp::File(path.clone()), &BTreeSet::new(), &host()).unwrap().unwrap();
        assert_eq!(seccomp.syscalls().as_ref().unwrap().len(), 1);
        std::fs::write(&path, "{").unwrap();
        assert!(oci_seccomp(&Seccomp::File(path), &BTreeSet::new(), &host()).is_err());
    }
}
