//! Unfinished uploads. An upload is a list of chunks, each an object named after the offset at which it
//! begins, so that any process can go on with it after a restart.
//!
//! A chunk is all or nothing: it is received under a name of its own and appears at its offset, in one
//! step and only if nothing is there, once it is complete and on disk. So two requests that write to one
//! upload can't mix, and a chunk never changes. The digest is computed from what was stored, and a blob
//! appears, again in one step, only when it matches.

use std::fmt;
use std::time::SystemTime;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, RenameOptions, RenameTargetMode, WriteMultipart};
use uuid::Uuid;

use super::{ByteStream, Storage, StorageError, age, layout, read};
use crate::digest::{Digest, Hasher};
use crate::name::RepoName;

/// How much of a chunk is gathered before it is written: what one upload costs in memory is about twice
/// this.
const WRITE_BYTES: usize = 256 * 1024;
/// The most chunks in an upload; object stores have the same bound on parts.
const MAX_CHUNKS: usize = 10_000;

/// Names an upload. It can't be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadId(Uuid);

impl UploadId {
    /// Reads an id from a request.
    pub fn parse(text: &str) -> Result<Self, StorageError> {
        Uuid::try_parse(text).map(UploadId).map_err(|_| StorageError::UploadUnknown)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a request's headers say of the chunk in its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunk {
    /// Where it begins; at the upload's end when not given.
    pub offset: Option<u64>,
    /// How long it is.
    pub length: Option<u64>,
}

/// The chunks of an upload, in order and without gaps.
struct Parts {
    parts: Vec<ObjectMeta>,
    size: u64,
}

impl Storage {
    /// Begins an upload.
    pub async fn begin_upload(&self, repo: &RepoName) -> Result<UploadId, StorageError> {
        let id = UploadId(Uuid::new_v4());
        self.put(&layout::upload_repo(id), repo.as_str().to_owned()).await?;
        Ok(id)
    }

    /// How many bytes an upload has.
    pub async fn upload_size(&self, repo: &RepoName, id: UploadId) -> Result<u64, StorageError> {
        Ok(self.upload_parts(repo, id).await?.size)
    }

    /// Adds a chunk to an upload, and returns the upload's new size.
    pub async fn append(
        &self,
        repo: &RepoName,
        id: UploadId,
        chunk: Chunk,
        bytes: ByteStream<'_>,
    ) -> Result<u64, StorageError> {
        let Parts { parts, size } = self.upload_parts(repo, id).await?;
        if chunk.offset.is_some_and(|offset| offset != size) {
            return Err(StorageError::OutOfOrder { have: size });
        }
        if parts.len() >= MAX_CHUNKS {
            return Err(StorageError::TooManyChunks(MAX_CHUNKS));
        }
        let room = self.limits.max_blob.saturating_sub(size);
        if chunk.length.is_some_and(|length| length > room) {
            return Err(StorageError::TooLarge(self.limits.max_blob));
        }
        let incoming = layout::upload_incoming(id);
        let received = self.receive(&incoming, bytes, chunk.length, room).await?;
        if received == 0 {
            self.remove(&incoming).await?;
            return Ok(size);
        }
        let options = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
        let published = {
            let _shared = self.folders.read().await;
            self.store.rename_opts(&incoming, &layout::upload_part(id, size), options).await
        };
        match published {
            Ok(()) => Ok(size + received),
            Err(object_store::Error::AlreadyExists { .. }) => {
                self.remove(&incoming).await?;
                Err(StorageError::OutOfOrder { have: self.upload_size(repo, id).await? })
            }
            Err(object_store::Error::NotFound { .. }) => Err(StorageError::UploadUnknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Streams `bytes` into a new object; on any error there is none.
    async fn receive(
        &self,
        path: &Path,
        mut bytes: ByteStream<'_>,
        declared: Option<u64>,
        room: u64,
    ) -> Result<u64, StorageError> {
        let mut writer = self.writer(path).await?;
        let mut got = 0;
        let outcome = loop {
            match bytes.try_next().await {
                Ok(Some(piece)) => {
                    got += piece.len() as u64;
                    if declared.is_some_and(|declared| got > declared) {
                        break Ok(());
                    }
                    if got > room {
                        break Err(StorageError::TooLarge(self.limits.max_blob));
                    }
                    writer.wait_for_capacity(1).await?;
                    writer.write(&piece);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let outcome = outcome.and_then(|()| match declared {
            Some(declared) if declared != got => Err(StorageError::ChunkSize { declared, got }),
            _ => Ok(()),
        });
        match outcome {
            Ok(()) => {
                writer.finish().await?;
                Ok(got)
            }
            Err(error) => {
                if let Err(cleanup) = writer.abort().await {
                    tracing::warn!(%path, %cleanup, "could not remove a broken upload's bytes");
                }
                Err(error)
            }
        }
    }

    async fn writer(&self, path: &Path) -> Result<WriteMultipart, StorageError> {
        let _shared = self.folders.read().await;
        let upload = self.store.put_multipart(path).await?;
        Ok(WriteMultipart::new_with_chunk_size(upload, WRITE_BYTES))
    }

    /// Turns an upload into the blob `digest`, if that is what it is. If not, the upload is dropped.
    pub async fn finish_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let Parts { parts, .. } = self.upload_parts(repo, id).await?;
        match self.publish(id, &parts, digest).await {
            Ok(()) => {}
            Err(error @ StorageError::DigestMismatch { .. }) => {
                self.remove_upload(id).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.link_blob(repo, digest).await?;
        // Last, so that a client that saw no answer can ask again.
        self.remove_upload(id).await
    }

    async fn publish(&self, id: UploadId, parts: &[ObjectMeta], digest: &Digest) -> Result<(), StorageError> {
        let mut hasher = Hasher::new(digest.algorithm());
        // The usual upload is one chunk, which needs no copy to become the blob.
        let whole = if let [only] = parts {
            let mut bytes = self.part(only).await?;
            while let Some(piece) = bytes.try_next().await? {
                hasher.update(&piece);
            }
            only.location.clone()
        } else {
            let joined = layout::upload_incoming(id);
            let mut writer = self.writer(&joined).await?;
            for part in parts {
                let mut bytes = self.part(part).await?;
                while let Some(piece) = bytes.try_next().await? {
                    hasher.update(&piece);
                    writer.wait_for_capacity(1).await?;
                    writer.write(&piece);
                }
            }
            writer.finish().await?;
            joined
        };
        let got = hasher.finish();
        if got != *digest {
            return Err(StorageError::DigestMismatch { wanted: digest.clone(), got });
        }
        let _shared = self.folders.read().await;
        match self.store.copy_if_not_exists(&whole, &layout::content(digest)).await {
            Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => Err(StorageError::UploadUnknown),
            Err(error) => Err(error.into()),
        }
    }

    async fn part(&self, part: &ObjectMeta) -> Result<ByteStream<'static>, StorageError> {
        match super::found(self.store.get(&part.location).await)? {
            Some(opened) => read(opened).await,
            None => Err(StorageError::UploadUnknown),
        }
    }

    /// Throws an upload away.
    pub async fn cancel_upload(&self, repo: &RepoName, id: UploadId) -> Result<(), StorageError> {
        self.upload_parts(repo, id).await?;
        self.remove_upload(id).await
    }

    async fn remove_upload(&self, id: UploadId) -> Result<(), StorageError> {
        // First, so that nobody goes on with an upload that is half gone.
        self.remove(&layout::upload_repo(id)).await?;
        let rest: Vec<_> = self.list(&layout::upload(id)).try_collect().await?;
        for object in rest {
            self.remove(&object.location).await?;
        }
        Ok(())
    }

    async fn upload_parts(&self, repo: &RepoName, id: UploadId) -> Result<Parts, StorageError> {
        // An id is only good in the repository that it was given for.
        if self.get_text(&layout::upload_repo(id)).await?.as_deref() != Some(repo.as_str()) {
            return Err(StorageError::UploadUnknown);
        }
        let mut parts: Vec<_> = self.list(&layout::upload_parts(id)).try_collect().await?;
        parts.sort_by(|a, b| a.location.cmp(&b.location));
        let mut size = 0;
        for part in &parts {
            if part.location != layout::upload_part(id, size) {
                return Err(StorageError::Damaged(part.location.to_string()));
            }
            size += part.size;
        }
        Ok(Parts { parts, size })
    }

    /// Throws away the uploads that nobody has gone on with for the configured time, and returns how
    /// many those were.
    pub async fn purge_uploads(&self, now: SystemTime) -> Result<usize, StorageError> {
        let mut purged = 0;
        let listed = self.store.list_with_delimiter(Some(&layout::uploads())).await?;
        for folder in listed.common_prefixes {
            let Some(Ok(id)) = folder.filename().map(UploadId::parse) else { continue };
            // A folder without objects is one that an upload is just being begun in.
            let ages: Vec<_> = self.list(&folder).map_ok(|object| age(&object, now)).try_collect().await?;
            if ages.iter().min().is_some_and(|youngest| *youngest >= self.limits.upload_ttl) {
                self.remove_upload(id).await?;
                purged += 1;
            }
        }
        Ok(purged)
    }
}
