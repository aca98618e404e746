//! A pull's layers: downloaded side by side, unpacked in order as they arrive.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::digest::Digest;
use crate::flight::Pinned;
use crate::images::{Images, Inner};
use crate::manifest::Descriptor;
use crate::progress::{LayerPhase, Listeners};
use crate::pull::{Pull, PullError};
use crate::reference::ImageName;
use crate::registry::Credentials;
use crate::snapshot::Snapshots;
use crate::unpack::unpack_layer;

type Outcome<T> = Result<T, PullError>;

impl Pull {
    pub(super) async fn fetch_layers(
        &self,
        layers: &[Descriptor],
        diff_ids: &[Digest],
        chain_ids: &[Digest],
        pinned: &Arc<Pinned>,
    ) -> Outcome<()> {
        let unpacked = |i: usize| self.inner().snapshots.as_ref().is_some_and(|s| s.has_layer(&chain_ids[i]));
        let mut downloads = Vec::with_capacity(layers.len());
        for (i, layer) in layers.iter().enumerate() {
            downloads.push((!unpacked(i)).then(|| {
                let download = Download {
                    images: self.images.clone(),
                    name: self.name.clone(),
                    layer: layer.clone(),
                    credentials: self.credentials.clone(),
                    listeners: self.listeners.clone(),
                };
                AbortOnDropHandle::new(tokio::spawn(async move { download.run().await }))
            }));
        }
        for (i, download) in downloads.into_iter().enumerate() {
            let layer = &layers[i];
            match download {
                Some(download) if !unpacked(i) => {
                    download.await.unwrap_or(Err(PullError::Stopped))?;
                    self.images
                        .unpack(layer, diff_ids[i], &chain_ids[..=i], pinned.clone(), &self.listeners)
                        .await?;
                }
                _ => self.listeners.layer(layer.digest, LayerPhase::Present, layer.size, layer.size),
            }
            self.listeners.layer(layer.digest, LayerPhase::Done, layer.size, layer.size);
        }
        Ok(())
    }
}

/// One layer's blob on its way in.
struct Download {
    images: Images,
    name: ImageName,
    layer: Descriptor,
    credentials: Option<Credentials>,
    listeners: Listeners,
}

impl Download {
    async fn run(&self) -> Outcome<()> {
        let inner: &Inner = &self.images.inner;
        let Descriptor { digest, size, .. } = self.layer;
        let _only_one = inner.blob_locks.lock(digest).await;
        let present = self
            .images
            .blocking(move |inner| {
                let kept = inner.content.size(&digest)?;
                if kept.is_some_and(|kept| kept != size) {
                    inner.content.remove(&digest)?;
                }
                Ok(kept == Some(size))
            })
            .await?;
        if present {
            self.listeners.layer(digest, LayerPhase::Present, size, size);
            return Ok(());
        }
        let _turn = inner.downloads.acquire().await.map_err(|_| PullError::Stopped)?;
        self.listeners.layer(digest, LayerPhase::Downloading, 0, size);
        let mut ingest = inner.content.ingest(digest, size);
        let on_bytes = |done| self.listeners.layer(digest, LayerPhase::Downloading, done, size);
        let credentials = self.credentials.as_ref();
        if let Err(e) = inner.registry.blob(&self.name, &self.layer, credentials, &mut ingest, on_bytes).await
        {
            ingest.discard().await;
            return Err(PullError::fetching(digest, e));
        }
        ingest.commit().await.map_err(|e| PullError::fetching(digest, e.into()))
    }
}

impl Images {
    /// Unpacks a layer whose blob is here over those below it, unless it is unpacked already. `chain_ids` are those
    /// of the layers up to this one. Does nothing where images are only kept.
    pub(crate) async fn unpack(
        &self,
        layer: &Descriptor,
        diff_id: Digest,
        chain_ids: &[Digest],
        pinned: Arc<Pinned>,
        listeners: &Listeners,
    ) -> Outcome<()> {
        let Some((chain_id, below)) = chain_ids.split_last() else { return Ok(()) };
        if self.inner.snapshots.is_none() {
            return Ok(());
        }
        let only_one = self.inner.layer_locks.lock(*chain_id).await;
        let turn = self.inner.unpacks.clone().acquire_owned().await.map_err(|_| PullError::Stopped)?;
        let (images, layer, listeners) = (self.clone(), layer.clone(), listeners.clone());
        let (chain_id, below) = (*chain_id, below.to_vec());
        let work = move || match &images.inner.snapshots {
            Some(snapshots) if !snapshots.has_layer(&chain_id) => {
                unpack_now(&images.inner, snapshots, &layer, diff_id, &chain_id, &below, &listeners)
            }
            _ => Ok(()),
        };
        // Lock, turn and pins go with the thread: it goes on even when nobody waits for it any more.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop((only_one, turn, pinned));
            done
        })
        .await
        .unwrap_or(Err(PullError::Stopped))
    }
}

fn unpack_now(
    inner: &Inner,
    snapshots: &Snapshots,
    layer: &Descriptor,
    diff_id: Digest,
    chain_id: &Digest,
    below: &[Digest],
    listeners: &Listeners,
) -> Outcome<()> {
    let file = inner.content.open_blob(&layer.digest)?;
    let lowers = snapshots.folders(below)?;
    let staged = snapshots.stage()?;
    let source = Watched { file, done: 0, layer, listeners };
    let unpacked = unpack_layer(source, staged.path(), &lowers, inner.limits)
        .map_err(|cause| PullError::Unpack { layer: layer.digest, cause: Box::new(cause) })?;
    diff_id.expect(unpacked.diff_id).map_err(|cause| PullError::DiffId { layer: layer.digest, cause })?;
    staged.commit(chain_id)?;
    Ok(())
}

/// Tells how much of the blob was read.
struct Watched<'a> {
    file: File,
    done: u64,
    layer: &'a Descriptor,
    listeners: &'a Listeners,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.done += n as u64;
        self.listeners.layer(self.layer.digest, LayerPhase::Unpacking, self.done, self.layer.size);
        Ok(n)
    }
}
