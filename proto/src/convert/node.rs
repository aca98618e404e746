//! Node descriptions.

use super::Invalid;
use crate::{limits, names::Word, v1};
use wharf_cluster::model::{NodeDescription, Platform};

impl TryFrom<v1::NodeDescription> for NodeDescription {
    type Error = Invalid;

    fn try_from(message: v1::NodeDescription) -> Result<Self, Invalid> {
        for (field, value) in [
            ("hostname", &message.hostname),
            ("address", &message.address),
            ("kernel", &message.kernel),
            ("version", &message.version),
        ] {
            if value.len() > 255 {
                return Err(Invalid::new(field, "is longer than 255 characters"));
            }
        }
        limits::texts("runtimes", message.runtimes.iter())?;
        limits::texts("labels", message.labels.values())?;
        Ok(NodeDescription {
            cgroups: Word::parse("cgroups", &message.cgroups)?,
            hostname: message.hostname,
            address: message.address,
            platform: message.platform.map(Platform::from).unwrap_or_default(),
            kernel: message.kernel,
            nano_cpus: message.nano_cpus,
            memory: message.memory,
            runtimes: message.runtimes,
            labels: message.labels,
            version: message.version,
        })
    }
}

impl From<&NodeDescription> for v1::NodeDescription {
    fn from(node: &NodeDescription) -> Self {
        v1::NodeDescription {
            hostname: node.hostname.clone(),
            address: node.address.clone(),
            platform: Some((&node.platform).into()),
            kernel: node.kernel.clone(),
            nano_cpus: node.nano_cpus,
            memory: node.memory,
            cgroups: node.cgroups.word().to_owned(),
            runtimes: node.runtimes.clone(),
            labels: node.labels.clone(),
            version: node.version.clone(),
        }
    }
}

impl From<v1::Platform> for Platform {
    fn from(message: v1::Platform) -> Self {
        Platform { os: message.os, architecture: message.architecture }
    }
}

impl From<&Platform> for v1::Platform {
    fn from(platform: &Platform) -> Self {
        v1::Platform { os: platform.os.clone(), architecture: platform.architecture.clone() }
    }
}
