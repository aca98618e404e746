//! The content store: blobs in a folder, named by digest, each complete and verified or not there at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::digest::{Digest, Hasher, Mismatch};
use crate::fs_error::{Context, FsError, if_exists, sync_folder};
use crate::headroom::Headroom;

/// How many pieces of a download may wait for the disk.
const QUEUE: usize = 8;

/// Blobs by digest, in `blobs/ALGORITHM/HEX` under one folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentStore {
    root: Arc<Path>,
}

/// What can go wrong with content.
#[derive(Debug, Clone, Error)]
pub enum ContentError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The bytes are not what was asked for.
    #[error(transparent)]
    DigestMismatch(#[from] Box<Mismatch>),
    /// More or fewer bytes than was said.
    #[error("size mismatch for {digest}: expected {expected} bytes, got {actual}{}", if *at_least { " or more" } else { "" })]
    SizeMismatch {
        /// The blob.
        digest: Digest,
        /// What was said.
        expected: u64,
        /// What came.
        actual: u64,
        /// Whether reading stopped there.
        at_least: bool,
    },
    /// Not in the store.
    #[error("blob {0} is not in the content store")]
    NotFound(Digest),
    /// Larger than the reader can take.
    #[error("blob {digest} has {size} bytes, at most {limit} are allowed here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
}

impl ContentStore {
    /// Opens the store in `root`, making the folder if need be and dropping what a crash left half done.
    pub fn open(root: &Path) -> Result<Self, ContentError> {
        for folder in ["blobs/sha256", "blobs/sha512", "ingest"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).context("create", &path)?;
        }
        let store = ContentStore { root: root.into() };
        store.drop_leftovers()?;
        Ok(store)
    }

    /// Removes partial files whose writer is gone: a live writer holds a lock on its file.
    fn drop_leftovers(&self) -> Result<(), FsError> {
        let folder = self.root.join("ingest");
        for entry in fs::read_dir(&folder).context("read", &folder)? {
            let path = entry.context("read", &folder)?.path();
            let Some(file) = if_exists(File::open(&path)).context("open", &path)? else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                if_exists(fs::remove_file(&path)).context("remove", &path)?;
            }
        }
        Ok(())
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// A blob's size, or none if it isn't there.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, ContentError> {
        let path = self.path(digest);
        Ok(if_exists(fs::metadata(&path)).context("look at", &path)?.map(|m| m.len()))
    }

    /// Whether a blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ContentError> {
        let path = self.path(digest);
        if_exists(File::open(&path)).context("open", &path)?.ok_or(ContentError::NotFound(*digest))
    }

    /// Reads a small blob and checks that it is still intact.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut file = self.open_blob(digest)?;
        let path = self.path(digest);
        let size = file.metadata().context("look at", &path)?.len();
        if size > limit {
            return Err(ContentError::TooLarge { digest: *digest, size, limit });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).context("read", &path)?;
        digest.check(&bytes)?;
        Ok(bytes)
    }

    /// Removes a blob; whether it was there.
    pub fn remove(&self, digest: &Digest) -> Result<bool, ContentError> {
        let path = self.path(digest);
        Ok(if_exists(fs::remove_file(&path)).context("remove", &path)?.is_some())
    }

    /// All blobs with their sizes.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, ContentError> {
        let mut blobs = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let folder = self.root.join("blobs").join(algorithm);
            for entry in fs::read_dir(&folder).context("read", &folder)? {
                let entry = entry.context("read", &folder)?;
                let name = entry.file_name();
                let parsed = name.to_str().and_then(|hex| format!("{algorithm}:{hex}").parse().ok());
                let Some(digest) = parsed else { continue };
                if let Some(metadata) = if_exists(entry.metadata()).context("look at", &folder)? {
                    blobs.push((digest, metadata.len()));
                }
            }
        }
        Ok(blobs)
    }

    /// Stores a small blob under its SHA-256 digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ContentError> {
        let digest = Digest::of(bytes);
        self.put_as(&digest, bytes)?;
        Ok(digest)
    }

    /// Stores a small blob under a digest that was given, if the bytes have it.
    pub fn put_as(&self, digest: &Digest, bytes: &[u8]) -> Result<(), ContentError> {
        if !self.contains(digest) {
            let mut writer = self.writer(digest.hasher())?;
            writer.write_all(bytes).context("write in", &self.root)?;
            writer.commit(Some(digest), Some(bytes.len() as u64))?;
        }
        Ok(())
    }

    /// Starts a blob; nothing is visible until [`BlobWriter::commit`].
    pub fn writer(&self, hasher: Hasher) -> Result<BlobWriter, ContentError> {
        let folder = self.root.join("ingest");
        let file = NamedTempFile::new_in(&folder).context("create a file in", &folder)?;
        flock(file.as_file(), FlockOperation::NonBlockingLockExclusive).context("lock", file.path())?;
        let headroom = Headroom::default();
        Ok(BlobWriter { store: self.clone(), file, fresh: hasher.clone(), hasher, written: 0, headroom })
    }

    /// Starts a blob that is fed from async code and written and hashed on a thread of its own.
    pub fn ingest(&self, digest: Digest, size: u64) -> Ingest {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || run_ingest(&store, &digest, size, pieces));
        Ingest { queue: Some(queue), task: Some(task), digest, size, taken: 0 }
    }
}

/// A blob on its way in. Dropping it leaves nothing behind.
pub struct BlobWriter {
    store: ContentStore,
    file: NamedTempFile,
    fresh: Hasher,
    hasher: Hasher,
    written: u64,
    headroom: Headroom,
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.headroom.before(self.file.as_file(), buf.len())?;
        let n = self.file.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter {
    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Starts anew with nothing written.
    pub fn reset(&mut self) -> Result<(), ContentError> {
        let path = self.file.path().to_owned();
        rustix::fs::ftruncate(self.file.as_file(), 0)
            .and_then(|()| rustix::fs::seek(self.file.as_file(), rustix::fs::SeekFrom::Start(0)))
            .context("truncate", &path)?;
        self.hasher = self.fresh.clone();
        self.written = 0;
        Ok(())
    }

    /// Checks size and digest, makes the blob durable and visible; returns its digest and size.
    pub fn commit(self, expected: Option<&Digest>, size: Option<u64>) -> Result<(Digest, u64), ContentError> {
        let actual = self.hasher.finish();
        if let Some(expected_size) = size
            && expected_size != self.written
        {
            return Err(ContentError::SizeMismatch {
                digest: *expected.unwrap_or(&actual),
                expected: expected_size,
                actual: self.written,
                at_least: false,
            });
        }
        if let Some(expected) = expected {
            expected.expect(actual)?;
        }
        let path = self.store.path(&actual);
        self.file.as_file().sync_data().context("write", &path)?;
        self.file.persist(&path).map_err(|e| e.error).context("write", &path)?;
        sync_folder(path.parent().unwrap_or(&self.store.root))?;
        Ok((actual, self.written))
    }
}

enum Piece {
    Data(Bytes),
    Reset,
    Commit,
}

fn run_ingest(
    store: &ContentStore,
    digest: &Digest,
    size: u64,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<bool, ContentError> {
    let mut writer = store.writer(digest.hasher())?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Data(bytes) => writer.write_all(&bytes).context("write", &store.path(digest))?,
            Piece::Reset => writer.reset()?,
            Piece::Commit => {
                writer.commit(Some(digest), Some(size))?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The async side of a blob on its way in. Dropping it leaves nothing behind.
pub struct Ingest {
    queue: Option<mpsc::Sender<Piece>>,
    /// `None` once its outcome was taken.
    task: Option<JoinHandle<Result<bool, ContentError>>>,
    digest: Digest,
    size: u64,
    taken: u64,
}

impl Ingest {
    /// Bytes taken in since the start or the last [`Ingest::reset`]: where a broken download goes on.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes more bytes. Refuses at once what goes over the blob's size.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ContentError> {
        let taken = self.taken + bytes.len() as u64;
        if taken > self.size {
            return Err(ContentError::SizeMismatch {
                digest: self.digest,
                expected: self.size,
                actual: taken,
                at_least: true,
            });
        }
        self.send(Piece::Data(bytes)).await?;
        self.taken = taken;
        Ok(())
    }

    /// Forgets what was taken in, for a server that can't go on in the middle.
    pub async fn reset(&mut self) -> Result<(), ContentError> {
        self.send(Piece::Reset).await?;
        self.taken = 0;
        Ok(())
    }

    /// Checks size and digest, makes the blob durable and visible.
    pub async fn commit(mut self) -> Result<(), ContentError> {
        self.send(Piece::Commit).await?;
        self.outcome().await
    }

    /// Gives up; when this returns, the partial file is gone. Merely dropping it removes the file a little later.
    pub async fn discard(mut self) {
        self.queue = None;
        if let Some(task) = self.task.take() {
            // It failed or was told to stop: either way its file is closed and removed by now.
            let _ = task.await;
        }
    }

    async fn send(&mut self, piece: Piece) -> Result<(), ContentError> {
        match &self.queue {
            Some(queue) if queue.send(piece).await.is_ok() => Ok(()),
            _ => self.outcome().await,
        }
    }

    /// The writer's word once it has ended, which before a commit it only does with an error.
    async fn outcome(&mut self) -> Result<(), ContentError> {
        self.queue = None;
        let ended = match self.task.take() {
            Some(task) => task.await.ok(),
            None => None,
        };
        match ended {
            Some(Ok(true)) => Ok(()),
            Some(Err(e)) => Err(e),
            Some(Ok(false)) | None => {
                let cause = io::Error::other("the writer stopped");
                Err(ContentError::from(FsError::new("write", Path::new("a blob"), cause)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ContentStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = ContentStore::open(folder.path()).unwrap();
        (folder, store)
    }

    fn leftovers(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path().join("ingest")).unwrap().count()
    }

    #[test]
    fn keeps_what_was_put() {
        let (folder, store) = store();
        let digest = store.put(b"hello").unwrap();
        assert_eq!(store.read(&digest, 5).unwrap(), b"hello");
        assert!(matches!(store.read(&digest, 4), Err(ContentError::TooLarge { .. })));
        assert_eq!(store.list().unwrap(), [(digest, 5)]);
        assert_eq!(store.size(&digest).unwrap(), Some(5));
        assert!(store.remove(&digest).unwrap());
        assert!(!store.remove(&digest).unwrap());
        assert!(matches!(store.read(&digest, 5), Err(ContentError::NotFound(_))));
        assert_eq!(leftovers(&folder), 0);
    }

    #[test]
    fn notices_a_damaged_blob() {
        let (_folder, store) = store();
        let digest = store.put(b"hello").unwrap();
        fs::write(store.path(&digest), b"hellO").unwrap();
        assert!(matches!(store.read(&digest, 10), Err(ContentError::DigestMismatch(_))));
    }

    #[test]
    fn drops_what_a_crash_left_but_not_a_live_writers_file() {
        let (folder, store) = store();
        fs::write(folder.path().join("ingest/stale"), b"half").unwrap();
        let mut writer = store.writer(Hasher::sha256()).unwrap();
        writer.write_all(b"live").unwrap();
        let other = ContentStore::open(folder.path()).unwrap();
        assert!(!folder.path().join("ingest/stale").exists());
        let (digest, _) = writer.commit(None, None).unwrap();
        assert_eq!(other.read(&digest, 10).unwrap(), b"live");
    }

    #[tokio::test]
    async fn ingests_in_pieces_and_starts_anew_when_told() {
        let (folder, store) = store();
        let digest = Digest::of(b"hello world");
        let mut ingest = store.ingest(digest, 11);
        ingest.write(Bytes::from_static(b"rubbish")).await.unwrap();
        ingest.reset().await.unwrap();
        ingest.write(Bytes::from_static(b"hello ")).await.unwrap();
        assert_eq!(ingest.taken(), 6);
        assert!(!store.contains(&digest));
        ingest.write(Bytes::from_static(b"world")).await.unwrap();
        ingest.commit().await.unwrap();
        assert_eq!(store.read(&digest, 20).unwrap(), b"hello world");
        assert_eq!(leftovers(&folder), 0);
    }

    #[tokio::test]
    async fn refuses_wrong_bytes_and_wrong_sizes_and_leaves_nothing() {
        let (folder, store) = store();
        let digest = Digest::of(b"hello");
        let mut wrong = store.ingest(digest, 5);
        wrong.write(Bytes::from_static(b"jello")).await.unwrap();
        assert!(matches!(wrong.commit().await, Err(ContentError::DigestMismatch(_))));
        let mut short = store.ingest(digest, 5);
        short.write(Bytes::from_static(b"hell")).await.unwrap();
        assert!(matches!(short.commit().await, Err(ContentError::SizeMismatch { at_least: false, .. })));
        let mut long = store.ingest(digest, 5);
        let refused = long.write(Bytes::from_static(b"hello!")).await;
        assert!(matches!(refused, Err(ContentError::SizeMismatch { at_least: true, .. })));
        long.discard().await;
        assert!(store.list().unwrap().is_empty());
        assert_eq!(leftovers(&folder), 0);
    }
}
