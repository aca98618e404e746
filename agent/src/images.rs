//! What the worker needs of images: to have them here, and root filesystems made of them.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use wharf_cluster::ids::TaskId;
use wharf_image::images::ImagesError;
use wharf_image::{
    ImageName, ImageNameError, ImageRecord, Images, Platform, PullError, PullOptions, PullPolicy, SnapshotKey,
};

/// Why a task has no image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The text in the spec is no name.
    #[error("image {name:?}: {cause}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        cause: ImageNameError,
    },
    /// It could not be pulled.
    #[error("can't pull image {name}: {cause}")]
    Pull {
        /// The image.
        name: String,
        /// Why not.
        cause: PullError,
    },
    /// Its root filesystem could not be made.
    #[error("can't prepare the root filesystem: {0}")]
    Prepare(ImagesError),
}

impl ImageError {
    /// Whether the spec itself is wrong, so that trying again is of no use on any node.
    pub fn is_permanent(&self) -> bool {
        matches!(self, ImageError::Name { .. })
    }
}

/// Brings images here and makes root filesystems of them.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// Sees to it that the image of this name is here. Dropping the call gives up.
    async fn pull(&self, name: &str) -> Result<Arc<ImageRecord>, ImageError>;

    /// Mounts a task's root filesystem, or finds it.
    async fn prepare(&self, task: TaskId, image: &ImageRecord) -> Result<PathBuf, ImageError>;

    /// Takes a task's root filesystem away. A task that has none is no error.
    async fn remove(&self, task: TaskId) -> Result<(), ImageError>;

    /// Tasks that have a root filesystem, and whether it is mounted.
    async fn prepared(&self) -> Result<Vec<(TaskId, bool)>, ImageError>;
}

/// The node's images.
#[derive(Clone)]
pub struct NodeImages {
    images: Images,
    platform: Platform,
}

impl NodeImages {
    /// Images for this machine.
    pub fn new(images: Images) -> Self {
        NodeImages { images, platform: Platform::host() }
    }
}

fn key(task: TaskId) -> SnapshotKey {
    task.to_string().parse().expect("a task's id has letters and digits only")
}

#[async_trait]
impl ImageSource for NodeImages {
    async fn pull(&self, name: &str) -> Result<Arc<ImageRecord>, ImageError> {
        let image: ImageName =
            name.parse().map_err(|cause| ImageError::Name { name: name.to_owned(), cause })?;
        let options = PullOptions { policy: PullPolicy::IfMissing, ..PullOptions::default() };
        let pulled = self.images.pull(&image, &self.platform, &options).await;
        pulled.map_err(|cause| ImageError::Pull { name: image.familiar(), cause })
    }

    async fn prepare(&self, task: TaskId, image: &ImageRecord) -> Result<PathBuf, ImageError> {
        let snapshot = self.images.prepare(&key(task), image).await.map_err(ImageError::Prepare)?;
        Ok(snapshot.rootfs)
    }

    async fn remove(&self, task: TaskId) -> Result<(), ImageError> {
        self.images.remove_snapshot(&key(task)).await.map(drop).map_err(ImageError::Prepare)
    }

    async fn prepared(&self) -> Result<Vec<(TaskId, bool)>, ImageError> {
        let all = self.images.snapshots().await.map_err(ImageError::Prepare)?;
        Ok(all.iter().filter_map(|s| Some((s.key.to_string().parse().ok()?, s.mounted))).collect())
    }
}
