//! Single words that requests carry.

use super::Invalid;
use crate::names::Word;
use wharf_cluster::model::{Availability, DesiredState, JoinRole};

/// `active`, `cordoned` or `drained`.
///
/// # Errors
/// When it is none of these.
pub fn availability(text: &str) -> Result<Availability, Invalid> {
    Word::parse("availability", text)
}

/// `ready`, `running`, `shutdown` or `remove`.
///
/// # Errors
/// When it is none of these.
pub fn desired_state(text: &str) -> Result<DesiredState, Invalid> {
    Word::parse("desired", text)
}

/// `agent`, `controller` or `registry`.
///
/// # Errors
/// When it is none of these.
pub fn join_role(text: &str) -> Result<JoinRole, Invalid> {
    Word::parse("role", text)
}
