//! Deleting what no manifest refers to. It runs while no registry does (the data folder's lock sees to
//! that), because a client that has just been told that a blob is there counts on it.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;

use super::listing::RepoWalk;
use super::{Storage, StorageError, age, layout};
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::name::RepoName;

/// What a collection deleted, or would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs and manifests.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
    /// Blobs that a repository no longer has, though others may.
    pub links: u64,
    /// Files that interrupted writes had left.
    pub leftovers: u64,
}

impl Storage {
    /// Deletes all content that no repository's manifest refers to and that is older than `grace`:
    /// somebody may be about to push the manifest of younger content. With `dry_run` it only counts.
    pub async fn collect_garbage(
        &self,
        grace: Duration,
        now: SystemTime,
        dry_run: bool,
    ) -> Result<Collected, StorageError> {
        let mut collected = Collected::default();
        let mut kept = HashSet::new();
        let mut walk = RepoWalk::new();
        while let Some(repo) = walk.next(self).await? {
            let used = self.used_by(&repo).await?;
            let mut links = self.list(&layout::blob_links(&repo));
            while let Some(link) = links.try_next().await? {
                let digest = layout::link_digest(&link.location)
                    .ok_or_else(|| StorageError::Damaged(link.location.to_string()))?;
                if used.contains(&digest) {
                    continue;
                }
                if age(&link, now) < grace {
                    kept.insert(digest);
                } else {
                    collected.links += 1;
                    if !dry_run {
                        self.remove(&link.location).await?;
                    }
                }
            }
            kept.extend(used);
        }
        let mut content = self.list(&layout::all_content());
        while let Some(object) = content.try_next().await? {
            let digest = layout::content_digest(&object.location);
            if age(&object, now) < grace || digest.is_some_and(|digest| kept.contains(&digest)) {
                continue;
            }
            collected.objects += 1;
            collected.bytes += object.size;
            if !dry_run {
                self.remove(&object.location).await?;
            }
        }
        if !dry_run {
            collected.leftovers = layout::remove_staged(&self.root)
                .map_err(|cause| StorageError::Io { what: "removing leftovers".into(), cause })?;
        }
        Ok(collected)
    }

    /// The repository's manifests and all they refer to. One that can't be read ends the collection: what
    /// it refers to would be lost.
    async fn used_by(&self, repo: &RepoName) -> Result<HashSet<Digest>, StorageError> {
        let mut used = HashSet::new();
        let mut links = self.list(&layout::manifest_links(repo));
        while let Some(link) = links.try_next().await? {
            let damaged = || StorageError::Damaged(link.location.to_string());
            let digest = layout::link_digest(&link.location).ok_or_else(damaged)?;
            let stored = self.manifest(repo, &crate::name::Reference::Digest(digest.clone())).await?;
            let manifest =
                Manifest::parse(&stored.content, Some(&stored.media_type)).map_err(|_| damaged())?;
            used.insert(digest);
            used.extend(manifest.dependencies.into_iter().map(|dependency| dependency.digest));
        }
        Ok(used)
    }
}
