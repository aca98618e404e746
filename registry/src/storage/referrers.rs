//! Which manifests say something about another one: signatures, attestations, bills of materials.

use futures::TryStreamExt;

use super::listing::Smallest;
use super::{Storage, StorageError, layout};
use crate::digest::Digest;
use crate::manifest::{MAX_MANIFEST, Manifest, Referrer};
use crate::name::RepoName;

/// The most referrers in one answer.
const MAX_PAGE: usize = 1000;

/// A part of a referrers list.
pub struct ReferrersPage {
    /// The entries.
    pub referrers: Vec<Referrer>,
    /// The last digest looked at, when there is more after it.
    pub next: Option<Digest>,
}

impl Storage {
    pub(super) async fn put_referrer(
        &self,
        repo: &RepoName,
        subject: &Digest,
        manifest: &Manifest,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StorageError> {
        let entry = Referrer {
            media_type: manifest.media_type.clone(),
            digest: digest.to_string(),
            size,
            artifact_type: manifest.artifact_type.clone(),
            annotations: manifest.annotations.clone(),
        };
        let path = layout::referrer(repo, subject, digest);
        let json = serde_json::to_vec(&entry)
            .map_err(|error| StorageError::Io { what: format!("encoding {path}"), cause: error.into() })?;
        self.put(&path, json).await
    }

    /// The referrers of `subject` in order of digest, after `last`, all or those of one type. An answer
    /// is about as large as a manifest may be, at most twice that.
    pub async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&Digest>,
    ) -> Result<ReferrersPage, StorageError> {
        let mut digests = Smallest::after(last.cloned(), MAX_PAGE);
        let mut listed = self.list(&layout::referrers(repo, subject));
        while let Some(object) = listed.try_next().await? {
            if let Some(digest) = layout::link_digest(&object.location) {
                digests.offer(digest);
            }
        }
        let (digests, more) = digests.finish();
        let mut page = ReferrersPage { referrers: Vec::new(), next: None };
        let mut bytes = 0;
        let count = digests.len();
        for (i, digest) in digests.into_iter().enumerate() {
            let path = layout::referrer(repo, subject, &digest);
            // Deleted since it was listed.
            let Some(json) = self.get(&path).await? else { continue };
            let entry: Referrer =
                serde_json::from_slice(&json).map_err(|_| StorageError::Damaged(path.to_string()))?;
            if artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted)) {
                page.referrers.push(entry);
                bytes += json.len();
            }
            let is_last = i + 1 == count;
            if (is_last && more) || (!is_last && bytes > MAX_MANIFEST) {
                page.next = Some(digest);
                break;
            }
        }
        Ok(page)
    }
}
