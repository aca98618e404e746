//! From messages to the model, checked; and back, which can't fail.

mod container;
mod node;
mod service;
mod task;
mod words;

pub use words::{availability, desired_state, join_role};

use thiserror::Error;

/// A field of a message that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Path of the field, for example `services.web.healthcheck.interval`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Invalid {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Invalid { field: field.into(), reason: reason.into() }
    }

    /// The same, seen from the message that holds the field's.
    #[must_use]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

impl From<Invalid> for tonic::Status {
    fn from(invalid: Invalid) -> Self {
        tonic::Status::invalid_argument(invalid.to_string())
    }
}
