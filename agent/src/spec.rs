//! From a task and an image's config to a container that the runtime can start. Pure: what has to be looked up or made
//! on the node is given.

mod files;
mod mounts;
mod process;

use std::path::{Path, PathBuf};

use thiserror::Error;
use wharf_cluster::model::{ContainerSpec, HealthCheck, HealthTest, NetworkMode};
use wharf_image::ImageConfig;
use wharf_runtime::api::LogOptions;
use wharf_runtime::signal::parse_signal;
use wharf_runtime::spec as runtime;

pub use files::{extra_hosts, hosts, resolv_conf};
pub use mounts::{Source, Wanted, anonymous_folder, volume_folder, wanted_mounts};
pub use process::{args, environment, hostname};

use crate::task::Assigned;

/// Why this node can't run a task, whatever it tries.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    fn of(field: &str, reason: impl std::fmt::Display) -> Self {
        Refusal(format!("{field}: {reason}"))
    }
}

/// What the node has made for a container.
#[derive(Debug, Clone)]
pub struct Site<'a> {
    /// The mounted root filesystem.
    pub rootfs: &'a Path,
    /// The network namespace; none for the node's own.
    pub netns: Option<&'a Path>,
    /// Folder with `hosts`, `resolv.conf` and `hostname`.
    pub files: &'a Path,
    /// Binds, volumes and tmpfs, made.
    pub mounts: Vec<runtime::Mount>,
    /// Cgroup that the container's own is made in.
    pub cgroup_parent: &'a str,
    /// What people call the node.
    pub node: &'a str,
}

/// Names of the files that are bound into a container's `/etc`.
pub const HOSTS: &str = "hosts";
/// See [`HOSTS`].
pub const RESOLV_CONF: &str = "resolv.conf";
/// See [`HOSTS`].
pub const HOSTNAME: &str = "hostname";

/// The container of a task.
///
/// # Errors
/// When something in task or image can't be run.
pub fn container(
    task: &Assigned,
    spec: &ContainerSpec,
    image: &ImageConfig,
    site: Site<'_>,
) -> Result<runtime::ContainerSpec, Refusal> {
    let args = args(spec, image)?;
    let mut made = runtime::ContainerSpec::new(task.id.to_string(), site.rootfs, args);
    let working_dir = spec.working_dir.as_deref().unwrap_or(&image.working_dir);
    made.cwd = PathBuf::from("/").join(working_dir);
    made.env = environment(task, spec, image, site.node);
    let user = spec.user.as_deref().unwrap_or(&image.user);
    if !user.is_empty() {
        made.user = runtime::User::Name(user.to_owned());
    }
    let host_network = spec.network_mode == NetworkMode::Host;
    made.hostname =
        (!host_network || spec.hostname.is_some()).then(|| hostname(spec.hostname.as_deref(), &task.name));
    made.network = match (&spec.network_mode, site.netns) {
        (NetworkMode::Host, _) => runtime::Network::Host,
        (NetworkMode::Bridge, Some(path)) => runtime::Network::Path(path.to_owned()),
        (NetworkMode::Bridge | NetworkMode::None, _) => runtime::Network::Isolated,
    };
    made.read_only = spec.read_only;
    made.mounts = site.mounts;
    made.cap_add.clone_from(&spec.cap_add);
    made.cap_drop.clone_from(&spec.cap_drop);
    made.ulimits = ulimits(spec)?;
    made.sysctls.clone_from(&spec.sysctls);
    made.resources = resources(task);
    made.cgroup_parent = site.cgroup_parent.to_owned();
    made.init = spec.init;
    made.hosts_file = Some(site.files.join(HOSTS));
    made.resolv_conf_file = Some(site.files.join(RESOLV_CONF));
    made.hostname_file = made.hostname.is_some().then(|| site.files.join(HOSTNAME));
    made.annotations = image.labels.clone();
    made.annotations.extend(spec.labels.clone());
    made.annotations.extend([
        ("wharf.stack".to_owned(), task.stack.clone()),
        ("wharf.service".to_owned(), task.service.clone()),
        ("wharf.task".to_owned(), task.id.to_string()),
        ("wharf.task.name".to_owned(), task.name.clone()),
        ("wharf.slot".to_owned(), task.slot.to_string()),
    ]);
    Ok(made)
}

/// The signal that asks a container to stop.
///
/// # Errors
/// When it is given and is none.
pub fn stop_signal(spec: &ContainerSpec, image: &ImageConfig) -> Result<i32, Refusal> {
    let text = spec.stop_signal.as_deref().unwrap_or(&image.stop_signal);
    if text.is_empty() {
        return Ok(libc::SIGTERM);
    }
    parse_signal(text).map_err(|error| Refusal::of("stop_signal", error))
}

/// How the container's health is found out, if at all: by the task's own check, else the image's.
pub fn health_check(spec: &ContainerSpec, image: &ImageConfig) -> Option<HealthCheck> {
    const SECOND: u64 = 1_000_000_000;
    let check = match (&spec.healthcheck, &image.healthcheck) {
        (Some(own), _) => own.clone(),
        (None, None) => return None,
        (None, Some(theirs)) => {
            let test = match theirs.test.split_first() {
                Some((first, [line])) if first == "CMD-SHELL" => HealthTest::Shell(line.clone()),
                Some((first, words)) if first == "CMD" && !words.is_empty() => HealthTest::Exec(words.into()),
                _ => HealthTest::Disabled,
            };
            // Nanoseconds; 0 is Docker's default.
            let millis =
                |nanos: u64, default: u64| if nanos == 0 { default } else { nanos }.div_ceil(1_000_000);
            HealthCheck {
                test,
                interval: millis(theirs.interval, 30 * SECOND),
                timeout: millis(theirs.timeout, 30 * SECOND),
                retries: if theirs.retries == 0 {
                    3
                } else {
                    u32::try_from(theirs.retries).unwrap_or(u32::MAX)
                },
                start_period: millis(theirs.start_period, 0),
                start_interval: millis(theirs.start_interval, 5 * SECOND),
            }
        }
    };
    // An image that leaves its own fields out has them filled above; a spec of an old client may have zeros.
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    (check.test != HealthTest::Disabled).then(|| HealthCheck {
        interval: or(check.interval, 30_000),
        timeout: or(check.timeout, 30_000),
        retries: check.retries.max(1),
        start_interval: or(check.start_interval, 5_000),
        ..check
    })
}

/// How the container's log is kept.
pub fn log_options(spec: &ContainerSpec) -> LogOptions {
    LogOptions { max_size: Some(spec.logging.max_size), max_files: spec.logging.max_file.max(1) }
}

fn ulimits(spec: &ContainerSpec) -> Result<Vec<runtime::Ulimit>, Refusal> {
    let value = |name: &str, value: i64| match value {
        -1 => Ok(u64::MAX),
        value => u64::try_from(value)
            .map_err(|_| Refusal::of("ulimits", format!("{name}: {value} is negative; -1 is unlimited"))),
    };
    spec.ulimits
        .iter()
        .map(|(name, limit)| {
            let name = name.to_ascii_lowercase();
            let (soft, hard) = (value(&name, limit.soft)?, value(&name, limit.hard)?);
            Ok(runtime::Ulimit { name, soft, hard })
        })
        .collect()
}

fn resources(task: &Assigned) -> runtime::Resources {
    let some = |value: u64| (value > 0).then_some(value);
    let (limits, reserved) = (&task.resources.limits, &task.resources.reservations);
    runtime::Resources {
        nano_cpus: some(limits.nano_cpus),
        // 1024 a processor, so that what is set aside is had when processors are short.
        cpu_shares: some(reserved.nano_cpus).map(|nanos| (nanos.saturating_mul(1024) / 1_000_000_000).max(2)),
        memory: some(limits.memory),
        memory_reservation: some(reserved.memory),
        memory_swap: None,
        pids: some(task.resources.pids_limit),
    }
}

#[cfg(test)]
mod tests;
