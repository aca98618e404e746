//! What a container is, as plain data: made by the agent from a task, an image and a network
//! namespace, and turned into an OCI runtime spec by [`oci_spec`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod capabilities;
mod check;
mod error;
mod mounts;
mod oci;
mod seccomp;
mod seccomp_default;
mod user;

pub use capabilities::DEFAULT_CAPABILITIES;
pub(crate) use check::valid_id;
pub use error::SpecError;
pub(crate) use mounts::special as special_mount;
pub use oci::oci_spec;
pub(crate) use user::make_dir_in_root;
pub use user::{ResolvedUser, resolve_user};

/// Everything that is needed to run one container. [`ContainerSpec::new`] gives Docker's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name of the container: letters, digits and `_.-`, at most 64 bytes. Unique on the node.
    pub id: String,
    /// The root filesystem, already mounted and writable (unless `read_only` and complete).
    pub rootfs: PathBuf,
    /// Mount the root filesystem read-only.
    pub read_only: bool,
    /// Command and arguments; `args[0]` is looked up in the container's `PATH`.
    pub args: Vec<String>,
    /// Environment as `KEY=value`. `PATH`, `HOSTNAME`, `HOME` and (with a tty) `TERM` are added if missing.
    pub env: Vec<String>,
    /// Working directory; made if it does not exist.
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// Host name in a UTS namespace of its own.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Binds, volumes and tmpfs, in order.
    pub mounts: Vec<Mount>,
    /// Capabilities added to Docker's default set, with or without `CAP_`; `ALL` adds all.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, with or without `CAP_`; `ALL` removes all but those in `cap_add`.
    pub cap_drop: Vec<String>,
    /// Resource limits of the process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of the container's cgroup.
    pub resources: Resources,
    /// The network namespace.
    pub network: Network,
    /// Absolute cgroup path under which the container's own is made, such as `/wharf/node-1`.
    pub cgroup_parent: String,
    /// Forbid the processes to gain privileges through set-user-id programs.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Run a tiny init as pid 1 that forwards signals and reaps orphans.
    pub init: bool,
    /// File bound read-only to `/etc/hosts`.
    pub hosts_file: Option<PathBuf>,
    /// File bound read-only to `/etc/resolv.conf`.
    pub resolv_conf_file: Option<PathBuf>,
    /// File bound read-only to `/etc/hostname`.
    pub hostname_file: Option<PathBuf>,
    /// Size of `/dev/shm` in bytes (64 MiB if absent).
    pub shm_size: Option<u64>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Adjustment of the process's score for the kernel's OOM killer.
    pub oom_score_adj: Option<i32>,
    /// Give the process a terminal; its output then has no separate stderr.
    pub tty: bool,
}

impl ContainerSpec {
    /// A container with Docker's defaults that runs `args` in `rootfs`.
    pub fn new(id: impl Into<String>, rootfs: impl Into<PathBuf>, args: Vec<String>) -> Self {
        Self {
            id: id.into(),
            rootfs: rootfs.into(),
            read_only: false,
            args,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::root(),
            hostname: None,
            domainname: None,
            mounts: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            resources: Resources::default(),
            network: Network::Isolated,
            cgroup_parent: "/wharf".into(),
            no_new_privileges: true,
            seccomp: Seccomp::Default,
            init: false,
            hosts_file: None,
            resolv_conf_file: None,
            hostname_file: None,
            shm_size: None,
            annotations: BTreeMap::new(),
            oom_score_adj: None,
            tty: false,
        }
    }

    /// The container's own cgroup path, in every hierarchy.
    #[must_use]
    pub fn cgroup_path(&self) -> String {
        format!("{}/{}", self.cgroup_parent.trim_end_matches('/'), self.id)
    }
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    /// Ids that are known already.
    Ids {
        /// User id.
        uid: u32,
        /// Primary group id.
        gid: u32,
        /// Supplementary group ids.
        additional_gids: Vec<u32>,
    },
    /// `name|uid[:group|gid]`, looked up in the container's own `/etc/passwd` and `/etc/group`.
    Name(String),
}

impl User {
    /// User and group 0.
    #[must_use]
    pub fn root() -> Self {
        Self::Ids { uid: 0, gid: 0, additional_gids: Vec::new() }
    }
}

/// One mount into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path inside the container; made if it does not exist.
    pub target: PathBuf,
    /// Mount it read-only.
    pub read_only: bool,
}

/// What a [`Mount`] mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host: a bind mount, or a volume's directory.
    Bind {
        /// Path on the host; it must exist.
        source: PathBuf,
        /// How mounts below it are shared with the host.
        propagation: Propagation,
        /// Leave out mounts below `source`.
        non_recursive: bool,
    },
    /// A memory filesystem.
    Tmpfs {
        /// Most bytes it may hold (half of the memory if absent).
        size: Option<u64>,
        /// Permission bits of its root (1777 if absent).
        mode: Option<u32>,
        /// More options as for `mount -o`, such as `uid=1000` or `exec`.
        options: Vec<String>,
    },
}

/// Propagation of mounts between host and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Private, recursively (Docker's default).
    #[default]
    Rprivate,
    /// Private.
    Private,
    /// Shared, recursively.
    Rshared,
    /// Shared.
    Shared,
    /// Slave, recursively.
    Rslave,
    /// Slave.
    Slave,
}

/// A resource limit of the process, as `ulimit` sets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Lower-case name without `RLIMIT_`, such as `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Limits of a container's cgroup. What is absent is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Billionths of a cpu.
    pub nano_cpus: Option<u64>,
    /// Relative weight (1024 is the kernel's default).
    pub cpu_shares: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes kept when memory is short (a soft limit).
    pub memory_reservation: Option<u64>,
    /// Bytes of memory and swap together; without it, as much swap as memory, as Docker does.
    pub memory_swap: Option<u64>,
    /// Most processes and threads.
    pub pids: Option<u64>,
}

/// A container's network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    Host,
    /// One that exists, such as `/run/netns/NAME`.
    Path(PathBuf),
    /// A new one with nothing but loopback (`network_mode: none`).
    Isolated,
}

/// A system call filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile.
    Default,
    /// None.
    Unconfined,
    /// A profile file in Docker's JSON form.
    File(PathBuf),
}
