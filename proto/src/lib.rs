//! What travels between Wharf's parts, and what they write to disk.
//!
//! * [`v1`]: generated from `proto/wharf/v1/*.proto`
//! * [`convert`]: the checked way from messages to the cluster's model and back: the one place where what came
//!   from outside is validated
//! * [`codec`]: the encoding of log entries and snapshots
//! * [`backup`]: the file that holds a cluster's whole state

pub mod backup;
pub mod codec;
pub mod convert;
mod limits;
mod names;

pub use convert::Invalid;
/// The model that messages are converted to, for crates that know it only through this one.
pub use wharf_cluster as cluster;

/// The generated messages and services.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("wharf.v1");
}
