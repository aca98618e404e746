//! Pushing an image that is here to a registry.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use thiserror::Error;

use crate::content::ContentError;
use crate::digest::Digest;
use crate::images::{Images, ImagesError};
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT, ManifestError};
use crate::progress::{LayerPhase, Listeners, Progress, ProgressEvent};
use crate::reference::ImageName;
use crate::registry::{BlobSource, Credentials, RegistryError};
use crate::store::{ImageRecord, now};

/// How many blobs are uploaded at the same time.
const UPLOADS: usize = 4;

/// How to push.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// The user to be for the registry, if not anybody.
    pub credentials: Option<Credentials>,
    /// Upload blobs in chunks of so many bytes, which can go on where one breaks off; none means in one request.
    pub chunk: Option<u64>,
    /// Who wants to hear how it goes.
    pub progress: Option<Arc<dyn Progress>>,
}

/// Why an image was not pushed.
#[derive(Debug, Clone, Error)]
pub enum PushError {
    /// The image is not here, or this side failed otherwise.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The registry's side.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A part of the image is not here; nodes drop blobs that they have unpacked.
    #[error("{0}; pull the image again before pushing it")]
    Content(ContentError),
    /// What is here is no image.
    #[error("the image's manifest is damaged: {0}")]
    BadManifest(ManifestError),
}

impl Images {
    /// Gives an image that is here one more name.
    pub async fn tag(&self, name: &ImageName, new: &ImageName) -> Result<Arc<ImageRecord>, ImagesError> {
        let (name, new) = (name.clone(), new.clone());
        self.blocking(move |inner| {
            let record = inner.store.get(&name).ok_or_else(|| ImagesError::NotFound(name.familiar()))?;
            Ok(inner.store.put(ImageRecord { name: new, stored_at: now(), ..(*record).clone() })?)
        })
        .await
    }

    /// Pushes an image to the registry that its name says: what is missing there of its blobs, then its manifest.
    /// Returns the manifest's digest.
    pub async fn push(&self, name: &ImageName, options: &PushOptions) -> Result<Digest, PushError> {
        let lookup = name.clone();
        let (record, pinned) = self
            .blocking(move |inner| {
                let record =
                    inner.store.get(&lookup).ok_or_else(|| ImagesError::NotFound(lookup.familiar()))?;
                let mut pinned = inner.pins.none();
                pinned.add(record.blobs());
                Ok((record, pinned))
            })
            .await?;
        let digest = record.manifest.digest;
        let bytes = self
            .blocking(move |inner| Ok(inner.content.read(&digest, MAX_DOCUMENT)))
            .await?
            .map_err(PushError::Content)?;
        let document =
            Document::parse(&bytes, Some(&record.manifest.media_type)).map_err(PushError::BadManifest)?;
        let Document::Manifest(manifest) = document else {
            return Err(PushError::BadManifest(ManifestError::Malformed("it is an index".into())));
        };
        let listeners = Listeners::default();
        options.progress.iter().for_each(|p| listeners.add(p.clone()));
        listeners.send(&ProgressEvent::Resolved {
            manifest: digest,
            layers: manifest.layers.len(),
            bytes: manifest.layers.iter().map(|l| l.size).sum(),
        });
        let mut blobs: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
        blobs.sort_by_key(|b| b.digest);
        blobs.dedup_by_key(|b| b.digest);
        let uploads: Vec<_> =
            blobs.into_iter().map(|b| self.push_blob(name, b, options, &listeners)).collect();
        futures::stream::iter(uploads).buffer_unordered(UPLOADS).try_collect::<()>().await?;
        let credentials = options.credentials.as_ref();
        self.registry().put_manifest(name, &record.manifest, bytes.into(), credentials).await?;
        drop(pinned);
        Ok(digest)
    }

    async fn push_blob(
        &self,
        name: &ImageName,
        blob: &Descriptor,
        options: &PushOptions,
        listeners: &Listeners,
    ) -> Result<(), PushError> {
        let Descriptor { digest, size, .. } = *blob;
        let credentials = options.credentials.as_ref();
        if self.registry().blob_exists(name, &digest, credentials).await? {
            listeners.layer(digest, LayerPhase::Present, size, size);
            return Ok(());
        }
        let kept = self.blocking(move |inner| Ok(inner.content.size(&digest)?)).await?;
        if kept != Some(size) {
            return Err(PushError::Content(ContentError::NotFound(digest)));
        }
        let source = BlobSource { path: self.content().path(&digest), size, digest };
        let heard = listeners.clone();
        let on_bytes = Arc::new(move |done| heard.layer(digest, LayerPhase::Uploading, done, size));
        self.registry().upload_blob(name, &source, credentials, options.chunk, on_bytes).await?;
        listeners.layer(digest, LayerPhase::Done, size, size);
        Ok(())
    }
}
