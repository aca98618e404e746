//! Where blobs, manifests, tags and unfinished uploads live: everything is an object in an
//! [`ObjectStore`], nothing is kept in the process.
//!
//! The file-system store runs with `with_fsync(true)`: each object is written to a file beside its
//! name, fsynced, renamed (or hard-linked) into place and its folder fsynced, before the call returns.
//! Without that option `object_store` renames without fsync, and a power cut could leave a name with
//! half its bytes. Deletes are not fsynced: after a power cut a deleted tag may be back, but never half.

mod blobs;
mod garbage;
mod layout;
mod listing;
mod manifests;
mod referrers;
mod uploads;

use std::fs::{File, TryLockError};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::RwLock;
use tokio_util::io::ReaderStream;

use crate::digest::Digest;
use crate::name::RepoName;

pub use garbage::Collected;
pub use listing::Page;
pub use uploads::{Chunk, UploadId};

/// How much of an object is read at a time.
const READ_BYTES: usize = 128 * 1024;

/// Bounds on what clients may store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest blob taken, in bytes.
    pub max_blob: u64,
    /// How long an upload may go without a new chunk before it is thrown away.
    pub upload_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_blob: 64 << 30, upload_ttl: Duration::from_secs(24 * 60 * 60) }
    }
}

/// What can go wrong while storing or reading.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The repository has no such blob.
    #[error("the repository has no blob {0}")]
    BlobUnknown(Digest),
    /// The repository has no such manifest or tag.
    #[error("the repository has no manifest {0}")]
    ManifestUnknown(String),
    /// There is nothing under this repository name.
    #[error("there is no repository {0}")]
    NameUnknown(RepoName),
    /// There is no such upload in this repository.
    #[error("there is no such upload: it was finished, cancelled or left for too long; start a new one")]
    UploadUnknown,
    /// A chunk does not begin where the upload ends.
    #[error("the upload has {have} bytes: the next chunk has to begin there")]
    OutOfOrder {
        /// How many bytes the upload has.
        have: u64,
    },
    /// A chunk is not as long as its headers said.
    #[error("the chunk has {got} bytes but its headers say {declared}")]
    ChunkSize {
        /// The length from the headers.
        declared: u64,
        /// The length received.
        got: u64,
    },
    /// The blob is larger than this registry allows.
    #[error("the blob is larger than {0} bytes, the most that this registry takes")]
    TooLarge(u64),
    /// The upload is in too many pieces.
    #[error("the upload is in more than {0} chunks: send larger ones")]
    TooManyChunks(usize),
    /// The bytes are not those that the digest names.
    #[error("the content has the digest {got}, not {wanted}; the upload is dropped")]
    DigestMismatch {
        /// The digest that the client gave.
        wanted: Digest,
        /// The digest of the bytes.
        got: Digest,
    },
    /// A manifest refers to things that the repository does not have.
    #[error("the manifest refers to what is not in the repository")]
    DependenciesMissing(Vec<Digest>),
    /// A manifest gives something another size than it has.
    #[error("the manifest gives {digest} {declared} bytes, but it has {actual}")]
    DependencySize {
        /// What has the other size.
        digest: Digest,
        /// The size in the manifest.
        declared: u64,
        /// The real size.
        actual: u64,
    },
    /// The request's body ended early or stalled.
    #[error("reading the request: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Something in the store is not as this registry writes it.
    #[error("the store is damaged at {0}")]
    Damaged(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(object_store::Error),
    /// The file system failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Another process has the data folder.
    #[error("{0} is in use by another wharf-registry: stop it first, or choose another --data-dir")]
    InUse(PathBuf),
}

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        StorageError::Store(error)
    }
}

/// Bytes read from the store or from a request, in order.
pub type ByteStream<'a> = BoxStream<'a, Result<Bytes, StorageError>>;

/// The registry's store.
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
    limits: Limits,
    /// A delete also removes folders that it empties. Held shared while an object is created, so that
    /// a folder can't vanish between being made and being used.
    folders: RwLock<()>,
    _lock: File,
}

impl Storage {
    /// Opens the store in `data_dir`, which is created when missing and belongs to this process alone.
    pub fn open(data_dir: &FsPath, limits: Limits) -> Result<Self, StorageError> {
        let io = |what: &str, path: &FsPath| {
            let what = format!("{what} {}", path.display());
            move |cause| StorageError::Io { what, cause }
        };
        let root = data_dir.join(layout::STORE_DIR);
        let uploads = root.join(layout::UPLOADS);
        std::fs::create_dir_all(&uploads).map_err(io("creating", &uploads))?;
        let lock_path = data_dir.join(layout::LOCK_FILE);
        let lock = File::create(&lock_path).map_err(io("creating", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StorageError::InUse(data_dir.to_owned()),
            TryLockError::Error(cause) => io("locking", &lock_path)(cause),
        })?;
        layout::check_version(&root).map_err(io("checking the layout of", &root))?;
        // Keeps the folder when its last upload is deleted, see `folders`.
        let keep = uploads.join(layout::KEEP_FILE);
        std::fs::write(&keep, b"").map_err(io("writing", &keep))?;
        let removed = layout::remove_staged(&uploads).map_err(io("cleaning", &uploads))?;
        if removed > 0 {
            tracing::info!(files = removed, "removed what interrupted uploads had left");
        }
        let store = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Storage { store: Arc::new(store), root, limits, folders: RwLock::new(()), _lock: lock })
    }

    /// Replaces a small object.
    async fn put(&self, path: &Path, content: impl Into<Bytes>) -> Result<(), StorageError> {
        let _shared = self.folders.read().await;
        self.store.put(path, content.into().into()).await?;
        Ok(())
    }

    /// Reads a small object.
    async fn get(&self, path: &Path) -> Result<Option<Bytes>, StorageError> {
        match found(self.store.get(path).await)? {
            Some(result) => Ok(Some(result.bytes().await?)),
            None => Ok(None),
        }
    }

    async fn get_text(&self, path: &Path) -> Result<Option<String>, StorageError> {
        let Some(bytes) = self.get(path).await? else { return Ok(None) };
        let text = String::from_utf8(bytes.into()).map_err(|_| StorageError::Damaged(path.to_string()))?;
        Ok(Some(text))
    }

    async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, StorageError> {
        found(self.store.head(path).await)
    }

    /// Deletes an object; false when there was none.
    async fn remove(&self, path: &Path) -> Result<bool, StorageError> {
        let _alone = self.folders.write().await;
        Ok(found(self.store.delete(path).await)?.is_some())
    }

    fn list(&self, prefix: &Path) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        self.store.list(Some(prefix)).map_err(StorageError::from).boxed()
    }
}

/// Turns "not found" into `None`.
fn found<T>(result: object_store::Result<T>) -> Result<Option<T>, StorageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The bytes of an opened object. `GetResult::into_stream` reads a file in steps of 8 KiB, each handed
/// to another thread, so files are read here.
async fn read(result: GetResult) -> Result<ByteStream<'static>, StorageError> {
    let range = result.range;
    match result.payload {
        GetResultPayload::File(file, path) => {
            let mut file = tokio::fs::File::from_std(file);
            let io = move |cause| StorageError::Io { what: format!("reading {}", path.display()), cause };
            file.seek(std::io::SeekFrom::Start(range.start)).await.map_err(io.clone())?;
            let limited = file.take(range.end - range.start);
            Ok(ReaderStream::with_capacity(limited, READ_BYTES).map_err(io).boxed())
        }
        GetResultPayload::Stream(stream) => Ok(stream.map_err(StorageError::from).boxed()),
    }
}

/// The age of an object at `now`; zero when its time lies ahead.
fn age(meta: &ObjectMeta, now: SystemTime) -> Duration {
    now.duration_since(meta.last_modified.into()).unwrap_or_default()
}
