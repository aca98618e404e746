//! Join tokens: what lets a machine into the cluster.

use crate::ids::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a token lets a machine join as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JoinRole {
    /// A node agent.
    Agent,
    /// A controller.
    Controller,
    /// A registry.
    Registry,
}

impl fmt::Display for JoinRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            JoinRole::Agent => "agent",
            JoinRole::Controller => "controller",
            JoinRole::Registry => "registry",
        })
    }
}

/// The secret part of the token of one role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The secret, in its text form.
    pub secret: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops being taken; `None` is never.
    pub expires: Option<Timestamp>,
    /// The secret that this one replaced, so that a holder of it is told so.
    pub replaced: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("created", &self.created)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
