//! What can be wrong with a container spec.

/// Why a spec can't be run on this host.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A field has a value that can't be used.
    #[error("{field}: {reason}")]
    Field {
        /// Name of the field, as Compose calls it.
        field: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The host lacks something.
    #[error("this host {0}")]
    Host(String),
    /// A file that the spec names can't be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl SpecError {
    pub(crate) fn field(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Field { field, reason: reason.into() }
    }
}
