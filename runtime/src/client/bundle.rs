//! What the OCI spec of a container looks like for the embedded runtime: three things are done
//! otherwise than libcontainer would, and every other runtime gets the plain spec.

use std::path::Path;

use libcontainer::oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompArgBuilder, LinuxSeccompOperator, Mount, Process, Spec,
};

use crate::host::{CgroupMode, HostFacts};
use crate::spec::special_mount;

/// Changes a spec for libcontainer, and returns the filter that the shim loads by itself.
///
/// - A filter is taken out: it is compiled once instead of for every container, and an exec gets it too.
///   Only without no_new_privs libcontainer loads it, as it must be done before capabilities are dropped.
/// - On cgroup v1, libcontainer would mount the container's cgroups writable, so that it could lift its limits.
pub(crate) fn adapt(spec: &mut Spec, host: &HostFacts) -> Option<LinuxSeccomp> {
    if matches!(host.cgroup_mode, CgroupMode::V1 | CgroupMode::Hybrid) {
        bind_cgroups(spec, host);
    }
    let no_new_privileges = spec.process().as_ref().and_then(Process::no_new_privileges) == Some(true);
    let mut linux = spec.linux().clone()?;
    let seccomp = linux.seccomp().clone()?;
    let result = if no_new_privileges {
        linux.set_seccomp(None);
        Some(seccomp)
    } else {
        linux.set_seccomp(Some(swap_masks(seccomp)));
        None
    };
    spec.set_linux(Some(linux));
    result
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

fn bind_cgroups(spec: &mut Spec, host: &HostFacts) {
    let cgroup_path = spec.linux().as_ref().and_then(|l| l.cgroups_path().clone()).unwrap_or_default();
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
            let source = super::cgroup::dir(hierarchy, &cgroup_path);
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
