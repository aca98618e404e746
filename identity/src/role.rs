//! Roles, and the identity that a certificate carries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest cluster or node id: what X.509 allows for a common name.
const MAX_ID: usize = 64;

/// What a certificate's holder is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A replica of the control plane.
    Controller,
    /// A node's agent.
    Agent,
    /// An image registry.
    Registry,
    /// A person or a script that runs the cluster through `wharf`.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Controller, Self::Agent, Self::Registry, Self::Admin];

    /// The word used in certificates, tokens and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Agent => "agent",
            Self::Registry => "registry",
            Self::Admin => "admin",
        }
    }

    /// The name that every server of this role answers to, whatever its address. An admin serves
    /// nothing.
    pub fn server_name(self) -> Option<&'static str> {
        match self {
            Self::Controller => Some("controller.wharf.internal"),
            Self::Agent => Some("agent.wharf.internal"),
            Self::Registry => Some("registry.wharf.internal"),
            Self::Admin => None,
        }
    }

    /// The role with its article, for messages: "an agent".
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::Controller => "a controller",
            Self::Agent => "an agent",
            Self::Registry => "a registry",
            Self::Admin => "an admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| IdentityError::Role { text: text.chars().take(MAX_ID).collect() })
    }
}

/// Who holds a certificate: subject O, OU and CN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// What the holder is.
    pub role: Role,
    /// The node's, controller's, registry's or admin's id, unique within its role.
    pub id: String,
}

impl Identity {
    /// An identity, if its ids are usable in a certificate.
    pub fn new(cluster: &str, role: Role, id: &str) -> Result<Self, IdentityError> {
        let cluster = check_id("cluster", cluster)?;
        let id = check_id(role.as_str(), id)?;
        Ok(Self { cluster, role, id })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.id)
    }
}

/// The id as an owned string, if it is one to 64 letters, digits, dots, dashes or underscores.
pub(crate) fn check_id(of: &'static str, id: &str) -> Result<String, IdentityError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(allowed) {
        return Err(IdentityError::Id { of, id: id.chars().take(MAX_ID).collect() });
    }
    Ok(id.to_owned())
}

/// Why an identity is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A role that does not exist.
    #[error("{text:?} is not a role; the roles are controller, agent, registry and admin")]
    Role {
        /// What stood in the role's place, cut to 64 characters.
        text: String,
    },
    /// An id that can't stand in a certificate.
    #[error("{id:?} can't be a {of}'s id: it takes 1 to 64 letters, digits, dots, dashes or underscores")]
    Id {
        /// Whose id it was to be.
        of: &'static str,
        /// The id, cut to 64 characters.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_from_its_word() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("Controller".parse::<Role>().is_err());
    }

    #[test]
    fn ids_that_could_confuse_a_certificate_are_refused() {
        assert!(Identity::new("c1", Role::Agent, "node-1.example_a").is_ok());
        for id in ["", "a b", "a/b", "a\0", "ä", &"x".repeat(65)] {
            assert!(Identity::new("c1", Role::Agent, id).is_err(), "{id:?}");
            assert!(Identity::new(id, Role::Agent, "n1").is_err(), "{id:?}");
        }
    }
}
