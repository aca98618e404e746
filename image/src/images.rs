//! The face of this crate: one folder with images, pulled, pushed, imported and prepared to run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::content::{ContentError, ContentStore};
use crate::digest::Digest;
use crate::flight::{KeyedLocks, Pins};
use crate::mounts::{KernelMounts, Mounts};
use crate::pull::Flights;
use crate::reference::ImageName;
use crate::registry::{RegistryClient, RegistryOptions};
use crate::snapshot::{Snapshot, SnapshotError, SnapshotKey, Snapshots};
use crate::store::{ImageRecord, ImageStore, StoreError};
use crate::unpack::UnpackLimits;

/// How a folder of images is kept.
#[derive(Clone)]
pub struct ImagesOptions {
    /// The folder: `content`, `images` and `snapshots` are made within.
    pub root: PathBuf,
    /// How to reach registries.
    pub registry: RegistryOptions,
    /// Whether pulled images are unpacked to be run here (an agent) or only kept (a client).
    pub unpack: bool,
    /// How many layers are downloaded at the same time, over all pulls.
    pub downloads: usize,
    /// How much one layer may unpack to.
    pub limits: UnpackLimits,
    /// What mounts root filesystems.
    pub mounts: Arc<dyn Mounts>,
}

impl ImagesOptions {
    /// For an agent: images are unpacked to be run.
    pub fn for_running(root: impl Into<PathBuf>) -> Self {
        ImagesOptions {
            root: root.into(),
            registry: RegistryOptions::default(),
            unpack: true,
            downloads: 4,
            limits: UnpackLimits::default(),
            mounts: Arc::new(KernelMounts),
        }
    }

    /// For a client: images are only kept, to be pushed. No privilege is needed.
    pub fn for_keeping(root: impl Into<PathBuf>) -> Self {
        ImagesOptions { unpack: false, ..ImagesOptions::for_running(root) }
    }
}

/// Why images can't be opened or looked after.
#[derive(Debug, Clone, Error)]
pub enum ImagesError {
    /// The content store.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshotter.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No image of that name is here.
    #[error("image {0} is not here: pull or import it first")]
    NotFound(String),
    /// This folder was opened to keep images only.
    #[error("images are not unpacked in this folder, so none can be run from it")]
    NotForRunning,
    /// A thread stopped before it was done.
    #[error("the work stopped before it was done")]
    Stopped,
}

/// What a collection took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs.
    pub blobs: usize,
    /// Bytes of blobs.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: usize,
}

/// Images in one folder. Cheap to clone; all clones share downloads and caches.
#[derive(Clone)]
pub struct Images {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub content: ContentStore,
    pub store: ImageStore,
    pub snapshots: Option<Snapshots>,
    pub registry: RegistryClient,
    pub limits: UnpackLimits,
    pub downloads: Semaphore,
    /// Unpacking is work for processors, and each piece of it holds a descriptor for every layer below.
    pub unpacks: Arc<Semaphore>,
    pub blob_locks: KeyedLocks<Digest>,
    pub layer_locks: KeyedLocks<Digest>,
    pub flights: Flights,
    pub pins: Pins,
}

impl Images {
    /// Opens a folder. Blocks for as long as it takes to read the records and clear what a crash left.
    pub fn open(options: ImagesOptions) -> Result<Self, ImagesError> {
        let root: &Path = &options.root;
        let snapshots =
            options.unpack.then(|| Snapshots::open(&root.join("snapshots"), options.mounts)).transpose()?;
        Ok(Images {
            inner: Arc::new(Inner {
                content: ContentStore::open(&root.join("content"))?,
                store: ImageStore::open(&root.join("images"))?,
                snapshots,
                registry: RegistryClient::new(options.registry),
                limits: options.limits,
                downloads: Semaphore::new(options.downloads.max(1)),
                unpacks: Arc::new(Semaphore::new(unpacks())),
                blob_locks: KeyedLocks::default(),
                layer_locks: KeyedLocks::default(),
                flights: Flights::default(),
                pins: Pins::default(),
            }),
        })
    }

    /// The blobs.
    pub fn content(&self) -> &ContentStore {
        &self.inner.content
    }

    /// The client that speaks to registries.
    pub fn registry(&self) -> &RegistryClient {
        &self.inner.registry
    }

    /// The image of exactly this name, if it is here; from memory.
    pub fn get(&self, name: &ImageName) -> Option<Arc<ImageRecord>> {
        self.inner.store.get(name)
    }

    /// All images, by name; from memory.
    pub fn list(&self) -> Vec<Arc<ImageRecord>> {
        self.inner.store.list()
    }

    /// Forgets a name; its content stays until [`Images::gc`]. Whether it was there.
    pub async fn remove(&self, name: &ImageName) -> Result<bool, ImagesError> {
        let name = name.clone();
        self.blocking(move |inner| Ok(inner.store.remove(&name)?)).await
    }

    /// Mounts a fresh root filesystem of `image` under `key`, or finds the one that is there already.
    pub async fn prepare(&self, key: &SnapshotKey, image: &ImageRecord) -> Result<Snapshot, ImagesError> {
        let (key, chain_ids) = (key.clone(), image.chain_ids.clone());
        self.blocking(move |inner| {
            let snapshots = inner.snapshots.as_ref().ok_or(ImagesError::NotForRunning)?;
            let mut pinned = inner.pins.none();
            pinned.add(chain_ids.iter().copied());
            Ok(snapshots.prepare(&key, &chain_ids)?)
        })
        .await
    }

    /// Unmounts a root filesystem and deletes what was written in it; whether there was one.
    pub async fn remove_snapshot(&self, key: &SnapshotKey) -> Result<bool, ImagesError> {
        let key = key.clone();
        self.blocking(move |inner| match &inner.snapshots {
            Some(snapshots) => Ok(snapshots.remove(&key)?),
            None => Ok(false),
        })
        .await
    }

    /// All root filesystems there are, mounted or not, such as an earlier agent left them.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, ImagesError> {
        self.blocking(|inner| inner.snapshots.as_ref().map_or(Ok(Vec::new()), |s| Ok(s.list()?))).await
    }

    /// Deletes blobs and layers that no record, snapshot, pull in progress or manifest in `in_use` needs.
    pub async fn gc(&self, in_use: Vec<Digest>) -> Result<Collected, ImagesError> {
        self.blocking(move |inner| inner.collect(&in_use)).await
    }

    /// Runs blocking work on a thread of its own.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ImagesError> + Send + 'static,
    ) -> Result<T, ImagesError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or(Err(ImagesError::Stopped))
    }
}

/// How many layers are unpacked at the same time.
fn unpacks() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(4))
}
