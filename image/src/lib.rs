//! Wharf's image side: pulling images from registries, keeping and verifying their content, preparing root
//! filesystems from them, and making and pushing new ones.
//!
//! Everything starts at [`Images`]. Its async calls run on tokio; what blocks runs on threads of its own.

mod archive;
mod compression;
mod flight;
mod gc;
mod headroom;

pub mod config;
pub mod content;
pub mod digest;
pub mod fs_error;
pub mod images;
pub mod import;
pub mod manifest;
pub mod mounts;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registry;
pub mod snapshot;
pub mod store;
pub mod unpack;

pub use config::{Healthcheck, ImageConfig};
pub use digest::Digest;
pub use images::{Images, ImagesError, ImagesOptions};
pub use import::{ImportSource, ImportSpec};
pub use platform::Platform;
pub use progress::{LayerPhase, Progress, ProgressEvent};
pub use pull::{PullError, PullOptions, PullPolicy};
pub use push::{PushError, PushOptions};
pub use reference::{ImageName, ImageNameError};
pub use registry::{Credentials, RegistryOptions};
pub use snapshot::{Snapshot, SnapshotKey};
pub use store::ImageRecord;
