//! Collecting what no image, snapshot or work in progress needs.

use std::collections::HashSet;

use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::images::{Collected, ImagesError, Inner};
use crate::manifest::{Document, MAX_DOCUMENT};

impl Inner {
    pub(crate) fn collect(&self, in_use: &[Digest]) -> Result<Collected, ImagesError> {
        let mut collected = Collected::default();
        let mut retired = Vec::new();
        {
            // From here nothing new can come into use: pulls and snapshots pin before they look.
            let pinned = self.pins.freeze();
            let mut needed: HashSet<Digest> = pinned.keys().copied().collect();
            for record in self.store.list() {
                needed.extend(record.blobs());
                needed.extend(&record.chain_ids);
            }
            for manifest in in_use {
                needed.extend(self.reachable(manifest));
            }
            if let Some(snapshots) = &self.snapshots {
                needed.extend(snapshots.list()?.into_iter().flat_map(|s| s.layers));
                for chain_id in snapshots.layers().iter().filter(|id| !needed.contains(id)) {
                    retired.extend(snapshots.retire_layer(chain_id)?);
                }
            }
            for (digest, size) in self.content.list()? {
                if !needed.contains(&digest) && self.content.remove(&digest)? {
                    collected.blobs += 1;
                    collected.bytes += size;
                }
            }
        }
        // Their files go after the lock does: that may take a while.
        collected.layers = retired.len();
        drop(retired);
        Ok(collected)
    }

    /// A manifest, and what it is made of as far as that is here.
    fn reachable(&self, manifest: &Digest) -> Vec<Digest> {
        let mut found = vec![*manifest];
        let Ok(bytes) = self.content.read(manifest, MAX_DOCUMENT) else { return found };
        if let Ok(Document::Manifest(document)) = Document::parse(&bytes, None) {
            found.push(document.config.digest);
            found.extend(document.layers.iter().map(|l| l.digest));
            let config = self.content.read(&document.config.digest, MAX_DOCUMENT);
            if let Some(config) = config.ok().and_then(|bytes| ConfigFile::parse(&bytes).ok()) {
                found.extend(config.chain_ids());
            }
        }
        found
    }
}
