//! What the tests share.

pub(crate) mod archive;
pub(crate) mod faults;
pub(crate) mod folder;
pub(crate) mod publish;
pub(crate) mod registry;

use wharf_image::{Images, ImagesOptions, Platform, PullOptions, PullPolicy};

pub(crate) use archive::Archive;
pub(crate) use folder::Folder;
pub(crate) use publish::Publish;
pub(crate) use registry::Registry;

/// A folder of images with fast retries.
pub(crate) fn images(folder: &Folder) -> Images {
    Images::open(options(folder)).unwrap()
}

pub(crate) fn options(folder: &Folder) -> ImagesOptions {
    let mut options = ImagesOptions::for_running(folder.path());
    options.registry.attempts = 3;
    options
}

pub(crate) fn amd64() -> Platform {
    Platform::linux("amd64")
}

pub(crate) fn policy(policy: PullPolicy) -> PullOptions {
    PullOptions { policy, ..PullOptions::default() }
}
