//! The mounts of a container: Docker's own, then the spec's, which replace Docker's where the
//! targets are the same.

use std::path::{Component, Path, PathBuf};

use libcontainer::oci_spec::runtime::Mount as OciMount;

use super::error::SpecError;
use super::{ContainerSpec, Mount, MountKind, Propagation};
use crate::host::{CgroupMode, HostFacts};

const SHM_SIZE: u64 = 64 * 1024 * 1024;

/// Where the tiny init is found in a container that asks for it.
pub(crate) const INIT_TARGET: &str = "/dev/init";

pub(crate) fn oci_mounts(
    spec: &ContainerSpec,
    host: &HostFacts,
    init: Option<&Path>,
) -> Result<Vec<OciMount>, SpecError> {
    let mut mounts = default_mounts(spec, host);
    let mut own: Vec<OciMount> = Vec::new();
    let files = [
        ("/etc/hosts", &spec.hosts_file),
        ("/etc/resolv.conf", &spec.resolv_conf_file),
        ("/etc/hostname", &spec.hostname_file),
    ];
    for (target, source) in files {
        if let Some(source) = source {
            own.push(bind(source, target, &["rbind", "rprivate"]));
        }
    }
    if let Some(init) = init.filter(|_| spec.init) {
        own.push(bind(init, INIT_TARGET, &["bind", "ro", "nosuid", "nodev"]));
    }
    for mount in &spec.mounts {
        let converted = convert(mount)?;
        own.retain(|m| m.destination() != converted.destination());
        own.push(converted);
    }
    mounts.retain(|m| !own.iter().any(|o| o.destination() == m.destination()));
    // A mount must come after the one it lies in; otherwise the given order holds.
    own.sort_by_key(|m| m.destination().components().count());
    mounts.extend(own);
    Ok(mounts)
}

fn default_mounts(spec: &ContainerSpec, host: &HostFacts) -> Vec<OciMount> {
    let shm = format!("size={}", spec.shm_size.unwrap_or(SHM_SIZE));
    let mut mounts = vec![
        special("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        special("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        special(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        special("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    if host.cgroup_mode != CgroupMode::None {
        mounts.push(special("cgroup", "/sys/fs/cgroup", &["ro", "nosuid", "noexec", "nodev"]));
    }
    mounts.push(special("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
    mounts.push(special("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm]));
    mounts
}

fn convert(mount: &Mount) -> Result<OciMount, SpecError> {
    let target = clean_target(&mount.target)?;
    let access = if mount.read_only { "ro" } else { "rw" };
    match &mount.kind {
        MountKind::Bind { source, propagation, non_recursive } => {
            if !source.is_absolute() {
                let reason = format!("the source {} must be an absolute path", source.display());
                return Err(SpecError::field("volumes", reason));
            }
            let kind = if *non_recursive { "bind" } else { "rbind" };
            Ok(bind(source, target, &[kind, access, propagation_option(*propagation)]))
        }
        MountKind::Tmpfs { size, mode, options } => {
            let mut all: Vec<String> = ["noexec", "nosuid", "nodev", access].map(str::to_owned).into();
            for option in options {
                all.retain(|o| Some(o.as_str()) != opposite(option));
                all.push(option.clone());
            }
            if let Some(size) = size {
                all.push(format!("size={size}"));
            }
            if !all.iter().any(|o| o.starts_with("mode=")) {
                all.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            }
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            Ok(special("tmpfs", target, &all))
        }
    }
}

/// The default option that another one takes the place of.
fn opposite(option: &str) -> Option<&'static str> {
    match option {
        "exec" | "noexec" => Some("noexec"),
        "suid" | "nosuid" => Some("nosuid"),
        "dev" | "nodev" => Some("nodev"),
        "ro" => Some("rw"),
        "rw" => Some("ro"),
        _ => None,
    }
}

fn propagation_option(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    }
}

/// An absolute target without `.` and `..`, and not the root itself.
fn clean_target(target: &Path) -> Result<PathBuf, SpecError> {
    let wrong =
        |reason: &str| SpecError::field("volumes", format!("the target {} {reason}", target.display()));
    if !target.is_absolute() {
        return Err(wrong("must be an absolute path"));
    }
    let mut clean = PathBuf::from("/");
    for component in target.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err(wrong("must not contain ..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if clean == Path::new("/") { Err(wrong("can't be the root of the container")) } else { Ok(clean) }
}

fn bind(source: &Path, target: impl Into<PathBuf>, options: &[&str]) -> OciMount {
    let mut mount = special("bind", target, options);
    mount.set_source(Some(source.to_owned()));
    mount
}

pub(crate) fn special(kind: &str, target: impl Into<PathBuf>, options: &[&str]) -> OciMount {
    let mut mount = OciMount::default();
    mount.set_destination(target.into());
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(PathBuf::from(kind)));
    mount.set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}
