//! What the OCI spec of a container looks like for the embedded runtime: some things are done
//! otherwise than libcontainer would, and every other runtime gets the plain spec.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompArgBuilder, LinuxSeccompOperator, Mount, Process, Spec,
};

use crate::api::CreateError;
use crate::host::{CgroupMode, HostFacts};
use crate::spec::special_mount;

/// What the shim does for the embedded runtime, in place of libcontainer.
#[derive(Default)]
pub(crate) struct Extras {
    /// The filter that it loads.
    pub(crate) filter: Option<LinuxSeccomp>,
    /// The v2 cgroup whose devices it restricts.
    pub(crate) device_cgroup: Option<PathBuf>,
    /// The limits that it sets.
    pub(crate) limit_files: Vec<(PathBuf, String)>,
}

/// Changes a spec for libcontainer, and returns what the shim does by itself.
///
/// - A filter is taken out: it is compiled once instead of for every container, and an exec gets it too.
///   Only without no_new_privs libcontainer loads it, as it must be done before capabilities are dropped.
/// - On cgroup v1, libcontainer would mount the container's cgroups writable, so that it could lift its limits.
/// - On cgroup v2, libcontainer can't restrict devices as it is built here (that takes libbpf).
/// - On cgroup v1, it takes no limits without a devices controller.
pub(crate) fn adapt(spec: &mut Spec, host: &HostFacts) -> Result<Extras, CreateError> {
    let mut extras = Extras::default();
    let mut linux = spec.linux().clone().unwrap_or_default();
    let cgroup_path = linux.cgroups_path().clone().unwrap_or_default();
    match host.cgroup_mode {
        CgroupMode::V2 => {
            let hierarchy = host.cgroup_mounts.iter().find(|m| m.v2);
            extras.device_cgroup = hierarchy.map(|h| super::cgroup::dir(h, &cgroup_path));
        }
        CgroupMode::V1 | CgroupMode::Hybrid => {
            bind_cgroups(spec, host, &cgroup_path);
            if !host.has_controller("devices") {
                let resources = linux.resources().clone().unwrap_or_default();
                extras.limit_files = super::limits::v1_files(&resources, host, &cgroup_path);
                linux.set_resources(None);
            }
        }
        CgroupMode::None => {
            let reason =
                "this host has no cgroups mounted in /sys/fs/cgroup, which the embedded runtime needs";
            return Err(CreateError::Invalid(reason.to_owned()));
        }
    }
    if let Some(seccomp) = linux.seccomp().clone() {
        if spec.process().as_ref().and_then(Process::no_new_privileges) == Some(true) {
            linux.set_seccomp(None);
            extras.filter = Some(seccomp);
        } else {
            linux.set_seccomp(Some(swap_masks(seccomp)));
        }
    }
    spec.set_linux(Some(linux));
    Ok(extras)
}

/// libcontainer takes the two values of a masked comparison in the other order than runc.
fn swap_masks(mut seccomp: LinuxSeccomp) -> LinuxSeccomp {
    let mut syscalls = seccomp.syscalls().clone().unwrap_or_default();
    for syscall in &mut syscalls {
        let Some(mut args) = syscall.args().clone() else { continue };
        for arg in args.iter_mut().filter(|a| a.op() == LinuxSeccompOperator::ScmpCmpMaskedEq) {
            let swapped = LinuxSeccompArgBuilder::default()
                .index(arg.index())
                .op(arg.op())
                .value(arg.value_two().unwrap_or(0))
                .value_two(arg.value());
            *arg = swapped.build().unwrap_or(*arg);
        }
        syscall.set_args(Some(args));
    }
    seccomp.set_syscalls(Some(syscalls));
    seccomp
}

fn bind_cgroups(spec: &mut Spec, host: &HostFacts, cgroup_path: &Path) {
    let Some(mounts) = spec.mounts().clone() else { return };
    let mut adapted = Vec::with_capacity(mounts.len() + host.cgroup_mounts.len());
    for mount in mounts {
        if mount.typ().as_deref() != Some("cgroup") {
            adapted.push(mount);
            continue;
        }
        let target = mount.destination().clone();
        adapted.push(special_mount("tmpfs", &target, &["nosuid", "noexec", "nodev", "mode=755", "size=64k"]));
        for hierarchy in host.cgroup_mounts.iter().filter(|m| !m.v2 && !m.controllers.is_empty()) {
            let source = super::cgroup::dir(hierarchy, cgroup_path);
            let own_name = hierarchy.path.file_name().map(Path::new);
            let names = hierarchy.controllers.iter().map(Path::new).filter(|n| Some(*n) != own_name);
            for name in own_name.into_iter().chain(names) {
                adapted.push(bind_read_only(&source, &target.join(name)));
            }
        }
    }
    spec.set_mounts(Some(adapted));
}

fn bind_read_only(source: &Path, target: &Path) -> Mount {
    let mut mount = special_mount("bind", target, &["bind", "ro", "nosuid", "noexec", "nodev"]);
    mount.set_source(Some(source.to_owned()));
    mount
}
