//! A service: what its containers run, and how.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Deploy, Healthcheck, Mount, Port, Tmpfs};
use crate::units;

/// One service of a [`Project`](super::Project).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Its name within the project.
    #[serde(skip)]
    pub name: String,
    /// Capabilities added to the default set: upper case, without `CAP_`; may be `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set: upper case, without `CAP_`; may be `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// The arguments; the image's own when absent, none when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// How many tasks, where, with which resources, and how they are replaced.
    pub deploy: Deploy,
    /// The program and its first arguments; the image's own when absent, none when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables, those of `env_file` included.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Extra lines of `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// The health check; the image's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The container's host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The image's reference as written.
    pub image: String,
    /// Whether a small init process reaps orphans and passes signals on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// Labels of the containers. Those of the service are in [`Deploy::labels`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How output is kept; the node's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// The network the containers see. Prints as `network_mode`, or as `networks: default` for a bridge.
    #[serde(flatten)]
    pub network_mode: NetworkMode,
    /// Published ports, one entry a port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Whether the container's root file system is read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The OCI runtime by name; the node's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// How long a container may take to stop before it is killed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "units::serialize_optional_duration")]
    pub stop_grace_period: Option<Duration>,
    /// The signal that asks the container to stop, as `SIGNAME` or a number; the image's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// File systems in memory, from `tmpfs:`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Resource limits of processes, by the name without `RLIMIT_` in lower case, such as `nofile`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `user` or `user:group`, names or numbers; the image's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Mounts from `volumes:`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Mount>,
    /// The working directory; the image's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

/// A name and the address it has in the container's `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExtraHost {
    /// The name.
    pub host: String,
    /// Its address.
    pub address: IpAddr,
}

impl Serialize for ExtraHost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}={}", self.host, self.address))
    }
}

/// The soft and the hard value of a resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Ulimit {
    /// The value in force; -1 for no limit.
    pub soft: i64,
    /// What the soft value may be raised to; -1 for no limit.
    pub hard: i64,
}

/// The network a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NetworkMode {
    /// An address of its own on the project's default network.
    #[default]
    Bridge,
    /// The node's own network.
    Host,
    /// Loopback alone.
    None,
}

impl Serialize for NetworkMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            NetworkMode::Bridge => map.serialize_entry("networks", &BTreeMap::from([("default", ())]))?,
            NetworkMode::Host => map.serialize_entry("network_mode", "host")?,
            NetworkMode::None => map.serialize_entry("network_mode", "none")?,
        }
        map.end()
    }
}

/// How a container's output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Logging {
    /// Which of Docker's driver names the file uses. Both mean files with rotation on the node.
    pub driver: LogDriver,
    /// A log file's largest size in bytes before it is rotated.
    pub max_size: Option<u64>,
    /// How many files are kept.
    pub max_file: Option<u32>,
}

/// A log driver's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// `json-file`
    #[default]
    JsonFile,
    /// `local`
    Local,
}

impl Serialize for Logging {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut options = BTreeMap::new();
        options.extend(self.max_size.map(|size| ("max-size", size.to_string())));
        options.extend(self.max_file.map(|files| ("max-file", files.to_string())));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("driver", &self.driver)?;
        if !options.is_empty() {
            map.serialize_entry("options", &options)?;
        }
        map.end()
    }
}
