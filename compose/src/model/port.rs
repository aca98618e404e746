//! A published port.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

/// One port of a service. Ranges in the file have been taken apart: each port has its own entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Port {
    /// A name for people, from the long syntax.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the port is published on the node of each task or through the cluster.
    pub mode: PublishMode,
    /// The address of the node to listen on; all addresses when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The port inside the container.
    pub target: u16,
    /// The port outside; absent when any free one will do.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub published: Option<u16>,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// Where a port is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishMode {
    /// On every node, passed on to a task wherever it runs.
    #[default]
    Ingress,
    /// On the node that runs the task.
    Host,
}

/// The transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// Compose prints a published port as text, since it may be a range in its own model.
#[allow(clippy::ref_option, reason = "the signature serde's serialize_with calls")]
fn as_text<S: Serializer>(port: &Option<u16>, serializer: S) -> Result<S::Ok, S::Error> {
    match port {
        Some(port) => serializer.collect_str(port),
        None => serializer.serialize_none(),
    }
}
