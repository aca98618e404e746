//! Stacks: what one Compose file declares.

use super::service::ServiceSpec;
use crate::ids::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What people ask a stack to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSpec {
    /// The stack's name.
    pub name: String,
    /// Its services, by their name within the stack.
    pub services: BTreeMap<String, ServiceSpec>,
    /// Its named volumes, by their full name on the node (`shop_data`).
    pub volumes: BTreeMap<String, VolumeSpec>,
}

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Made and removed by others: never by this stack.
    pub external: bool,
}

/// A stack as the cluster holds it. Its services are found by name in the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Grows with each change; a client's check-and-set compares it.
    pub version: u64,
    /// Its named volumes.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
