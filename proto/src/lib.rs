//! What travels between Wharf's parts, and what they write to disk.
//!
//! [`v1`] is generated from `proto/wharf/v1/*.proto`.

/// The generated messages and services.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("wharf.v1");
}
