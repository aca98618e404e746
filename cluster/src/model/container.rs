//! What runs inside a task: the container part of a service's spec.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How to run one container. Field names are those of the Compose specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Image reference as written, for example `nginx:1.27` or `registry:5000/app@sha256:…`.
    pub image: String,
    /// Overrides the image's entrypoint; `None` keeps it.
    pub entrypoint: Option<Vec<String>>,
    /// Overrides the image's command; `None` keeps it (unless the entrypoint is overridden, as in Docker).
    pub command: Option<Vec<String>>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// `user[:group]`, by name or number; `None` takes the image's.
    pub user: Option<String>,
    /// Working directory; `None` takes the image's.
    pub working_dir: Option<String>,
    /// Host name inside the container; `None` makes one of the task's name.
    pub hostname: Option<String>,
    /// Signal that asks the container to stop, by name; `None` takes the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// How long to wait after the stop signal before SIGKILL, in milliseconds.
    pub stop_grace_period: u64,
    /// Run a tiny init as pid 1 that reaps children and forwards signals.
    pub init: bool,
    /// Mount the root file system read-only.
    pub read_only: bool,
    /// Capabilities added to Docker's default set.
    pub cap_add: Vec<String>,
    /// Capabilities taken from Docker's default set.
    pub cap_drop: Vec<String>,
    /// Resource limits of the process, by name without `RLIMIT_`, lowercase.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Host names added to `/etc/hosts`, name to address.
    pub extra_hosts: Vec<(String, String)>,
    /// Volumes, bind mounts and tmpfs.
    pub mounts: Vec<Mount>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Which network the container sees.
    pub network_mode: NetworkMode,
    /// How its health is found out; `None` takes the image's.
    pub healthcheck: Option<HealthCheck>,
    /// Where its output goes.
    pub logging: LogConfig,
    /// Name of the OCI runtime on the node; `None` takes the node's default.
    pub runtime: Option<String>,
}

/// Soft and hard value of one resource limit; -1 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// One mount into the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path inside the container.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the node.
    Bind {
        /// Absolute path on the node.
        source: String,
        /// Make the folder if it isn't there, as Compose's short syntax does.
        create_host_path: bool,
        /// Mount propagation (`rprivate`, `rshared`, …); `None` is `rprivate`.
        propagation: Option<String>,
    },
    /// A named volume of the stack, or an anonymous one (`None`) that ends with the task.
    Volume {
        /// The volume's full name on the node, already prefixed with the stack's.
        name: Option<String>,
        /// Don't copy the image's content into an empty volume.
        nocopy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Largest size in bytes; `None` is half the memory, as the kernel does.
        size: Option<u64>,
        /// Mode of its root folder, for example 0o1777.
        mode: Option<u32>,
    },
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A port published on the node that runs the task (host mode).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Port inside the container.
    pub target: u16,
    /// Port on the node; `None` lets the agent choose a free one.
    pub published: Option<u16>,
    /// Address on the node that it is bound to; `None` is every address.
    pub host_ip: Option<String>,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// Which network a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A bridge of the node with NAT for outgoing traffic.
    #[default]
    Bridge,
    /// The node's own network.
    Host,
    /// Loopback only.
    None,
}

/// How a container's health is found out. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is run.
    pub test: HealthTest,
    /// Time between checks.
    pub interval: u64,
    /// How long one check may take.
    pub timeout: u64,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
    /// Time after start in which failures don't count.
    pub start_period: u64,
    /// Time between checks within `start_period`.
    pub start_interval: u64,
}

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthTest {
    /// No check, also if the image has one.
    Disabled,
    /// A program with its arguments.
    Exec(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// Size at which a log file is rotated, in bytes.
    pub max_size: u64,
    /// How many files are kept, the one being written included.
    pub max_file: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { max_size: 10 << 20, max_file: 3 }
    }
}
