//! The seam between tasks and networks: a task is attached, and gets a network namespace with an address. Today there is
//! one network, a bridge of this node with NAT; networks across nodes will come in behind the same trait.

pub mod address;
pub mod bridge;
mod link;
mod netns;
mod nft;
pub mod ports;
mod record;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use async_trait::async_trait;
use thiserror::Error;
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::Port;

pub use record::{Attached, Published};

/// Attaches tasks to a network.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Makes a network namespace for a task, with an address, and publishes its ports. A task that is attached
    /// already stays as it is.
    async fn attach(&self, task: TaskId, ports: &[Port]) -> Result<Attached, NetworkError>;

    /// Takes all of it away again. A task that isn't attached is no error.
    async fn detach(&self, task: TaskId) -> Result<(), NetworkError>;

    /// What is attached, by an earlier agent as well.
    fn attached(&self) -> BTreeMap<TaskId, Attached>;

    /// The node's address in the network.
    fn gateway(&self) -> Ipv4Addr;
}

/// Why a task has no network.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// Every address is taken.
    #[error("no address is left in the node's subnet {0}: start the agent with a larger --bridge-subnet")]
    NoAddress(address::Subnet),
    /// Somebody has the port.
    #[error("port {port}/{protocol} of the node is taken by {by}")]
    PortTaken {
        /// The port.
        port: u16,
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// Who has it.
        by: String,
    },
    /// Every port that the agent may choose is taken.
    #[error("no port of the node is free to publish {0}")]
    NoPort(u16),
    /// The port's address on the node is none that packet filters know.
    #[error("ports can be published on IPv4 addresses only, not on {0}")]
    HostAddress(String),
    /// No subnet could be found.
    #[error("every subnet that the agent would choose is in use on this node: give one with --bridge-subnet")]
    NoSubnet,
    /// Another agent is at it.
    #[error("another agent has bridge {0}: give each agent of a machine its own with --bridge")]
    BridgeTaken(String),
    /// The kernel refused a link, an address or a route.
    #[error("can't {what}: {cause}")]
    Link {
        /// What was tried.
        what: String,
        /// What the kernel said.
        cause: String,
    },
    /// The packet filter refused.
    #[error("nft: {0}")]
    Filter(String),
    /// A file could not be handled.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The agent is ending.
    #[error("the agent is stopping")]
    Stopped,
}

impl NetworkError {
    fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| NetworkError::Io { what, path, source }
    }

    /// Whether trying the same again, here, is of no use.
    pub fn is_permanent(&self) -> bool {
        matches!(self, NetworkError::HostAddress(_))
    }
}
