//! Manifests and the tags that point to them.

use bytes::Bytes;
use futures::TryStreamExt;

use super::{Storage, StorageError, layout};
use crate::digest::Digest;
use crate::manifest::{Dependency, Manifest};
use crate::name::{Reference, RepoName, Tag};

/// A manifest as it was pushed.
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub content: Bytes,
}

impl Storage {
    /// Stores a manifest whose dependencies are all in the repository, and points `tag` to it.
    pub async fn put_manifest(
        &self,
        repo: &RepoName,
        manifest: &Manifest,
        content: Bytes,
        digest: &Digest,
        tag: Option<&Tag>,
    ) -> Result<(), StorageError> {
        self.check_dependencies(repo, &manifest.dependencies).await?;
        // In this order a crash leaves nothing that points to what is not there.
        let size = content.len() as u64;
        self.put(&layout::content(digest), content).await?;
        self.put(&layout::manifest_link(repo, digest), manifest.media_type.clone()).await?;
        if let Some(subject) = &manifest.subject {
            self.put_referrer(repo, subject, manifest, digest, size).await?;
        }
        if let Some(tag) = tag {
            self.put(&layout::tag(repo, tag), digest.to_string()).await?;
        }
        Ok(())
    }

    async fn check_dependencies(&self, repo: &RepoName, wanted: &[Dependency]) -> Result<(), StorageError> {
        let mut missing = Vec::new();
        for Dependency { digest, size, is_manifest } in wanted {
            let link = if *is_manifest { layout::manifest_link } else { layout::blob_link };
            let linked = self.head(&link(repo, digest)).await?;
            let content = if linked.is_some() { self.head(&layout::content(digest)).await? } else { None };
            match content {
                None => missing.push(digest.clone()),
                Some(content) if content.size == *size => {}
                Some(content) => {
                    return Err(StorageError::DependencySize {
                        digest: digest.clone(),
                        declared: *size,
                        actual: content.size,
                    });
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(StorageError::DependenciesMissing(missing)) }
    }

    /// The digest that a reference stands for.
    async fn resolve(&self, repo: &RepoName, reference: &Reference) -> Result<Digest, StorageError> {
        let tag = match reference {
            Reference::Digest(digest) => return Ok(digest.clone()),
            Reference::Tag(tag) => tag,
        };
        let path = layout::tag(repo, tag);
        let text = self.get_text(&path).await?.ok_or_else(|| unknown(reference))?;
        text.parse().map_err(|_| StorageError::Damaged(path.to_string()))
    }

    /// Reads a manifest.
    pub async fn manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
    ) -> Result<StoredManifest, StorageError> {
        let digest = self.resolve(repo, reference).await?;
        let link = self.get_text(&layout::manifest_link(repo, &digest)).await?;
        let media_type = link.ok_or_else(|| unknown(reference))?;
        let content = self.get(&layout::content(&digest)).await?.ok_or_else(|| unknown(reference))?;
        Ok(StoredManifest { digest, media_type, content })
    }

    /// Deletes a tag, or a manifest with all tags that point to it.
    pub async fn delete_manifest(&self, repo: &RepoName, reference: &Reference) -> Result<(), StorageError> {
        let digest = match reference {
            Reference::Tag(tag) if self.remove(&layout::tag(repo, tag)).await? => return Ok(()),
            Reference::Tag(_) => return Err(unknown(reference)),
            Reference::Digest(digest) => digest,
        };
        let stored = self.manifest(repo, reference).await?;
        // Tags first, so that a crash leaves none that points to nothing.
        let mut tags = self.list(&layout::tags(repo));
        while let Some(tag) = tags.try_next().await? {
            if self.get_text(&tag.location).await?.is_some_and(|target| target == digest.to_string()) {
                self.remove(&tag.location).await?;
            }
        }
        let manifest = Manifest::parse(&stored.content, Some(&stored.media_type));
        if let Ok(Manifest { subject: Some(subject), .. }) = manifest {
            self.remove(&layout::referrer(repo, &subject, digest)).await?;
        }
        self.remove(&layout::manifest_link(repo, digest)).await?;
        Ok(())
    }
}

fn unknown(reference: &Reference) -> StorageError {
    StorageError::ManifestUnknown(reference.to_string())
}
