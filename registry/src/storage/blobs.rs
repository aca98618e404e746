//! Blobs: content by digest, and which repository has it.

use std::ops::Range;

use object_store::{GetOptions, GetRange};

use super::{ByteStream, Storage, StorageError, found, layout, read};
use crate::digest::Digest;
use crate::name::RepoName;

/// An opened blob, or a part of it.
pub struct Blob {
    /// Its bytes.
    pub bytes: ByteStream<'static>,
    /// The bytes' place in the blob.
    pub range: Range<u64>,
}

impl Storage {
    /// The size of a blob that the repository has.
    pub async fn blob_size(&self, repo: &RepoName, digest: &Digest) -> Result<u64, StorageError> {
        let unknown = || StorageError::BlobUnknown(digest.clone());
        self.head(&layout::blob_link(repo, digest)).await?.ok_or_else(unknown)?;
        Ok(self.head(&layout::content(digest)).await?.ok_or_else(unknown)?.size)
    }

    /// Opens a blob that the repository has, or the part `range` of it, which has to lie inside it.
    pub async fn blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        range: Option<Range<u64>>,
    ) -> Result<Blob, StorageError> {
        let unknown = || StorageError::BlobUnknown(digest.clone());
        self.head(&layout::blob_link(repo, digest)).await?.ok_or_else(unknown)?;
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let opened = found(self.store.get_opts(&layout::content(digest), options).await)?;
        let opened = opened.ok_or_else(unknown)?;
        let range = opened.range.clone();
        Ok(Blob { bytes: read(opened).await?, range })
    }

    /// Gives `to` a blob that `from` has, and says whether it does have it.
    pub async fn mount_blob(
        &self,
        from: &RepoName,
        to: &RepoName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        match self.blob_size(from, digest).await {
            Ok(_) => {
                self.link_blob(to, digest).await?;
                Ok(true)
            }
            Err(StorageError::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a blob from a repository. Its bytes stay for other repositories, until `gc`.
    pub async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<(), StorageError> {
        if self.remove(&layout::blob_link(repo, digest)).await? {
            Ok(())
        } else {
            Err(StorageError::BlobUnknown(digest.clone()))
        }
    }

    pub(super) async fn link_blob(&self, repo: &RepoName, digest: &Digest) -> Result<(), StorageError> {
        self.put(&layout::blob_link(repo, digest), "").await
    }
}
