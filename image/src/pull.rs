//! Pulling an image: resolve its name, choose its platform, fetch what is missing, unpack it layer by layer.

mod layers;

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use thiserror::Error;

use crate::config::{ConfigError, ConfigFile};
use crate::content::ContentError;
use crate::digest::{Digest, Mismatch};
use crate::flight::Pinned;
use crate::images::{Images, ImagesError, Inner};
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT, Manifest};
use crate::platform::Platform;
use crate::progress::{Listeners, Progress, ProgressEvent};
use crate::reference::ImageName;
use crate::registry::{Credentials, FetchError, Fetched, RegistryError};
use crate::snapshot::SnapshotError;
use crate::store::{ImageRecord, StoreError, now};
use crate::unpack::UnpackError;

/// When to ask the registry about an image that is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Always, whether its tag stands for something else now.
    Always,
    /// Only if no image of that name is here.
    #[default]
    IfMissing,
    /// Never: it must be here.
    Never,
}

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// The user to be for the registry, if not anybody.
    pub credentials: Option<Credentials>,
    /// Who wants to hear how it goes.
    pub progress: Option<Arc<dyn Progress>>,
}

/// Why an image was not pulled.
#[derive(Debug, Clone, Error)]
pub enum PullError {
    /// The policy is [`PullPolicy::Never`] and it isn't here.
    #[error("image {0} is not on this node, and the pull policy is never to pull it")]
    NotHere(String),
    /// The registry's side.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is nothing for this platform.
    #[error("image {name} is not for {wanted}: it is for {}", list(available))]
    WrongPlatform {
        /// The image.
        name: String,
        /// What was wanted.
        wanted: Platform,
        /// What there is.
        available: Vec<Platform>,
    },
    /// The config is of no use.
    #[error("image {name}: {cause}")]
    BadConfig {
        /// The image.
        name: String,
        /// What is wrong.
        cause: ConfigError,
    },
    /// An index within an index, or something like it.
    #[error("image {name}: its index leads to another index instead of an image")]
    NestedIndex {
        /// The image.
        name: String,
    },
    /// The disk's side, or wrong bytes.
    #[error("layer {layer}: {cause}")]
    Layer {
        /// The layer's blob.
        layer: Digest,
        /// What happened.
        cause: Box<ContentError>,
    },
    /// The archive can't be applied.
    #[error("layer {layer}: {cause}")]
    Unpack {
        /// The layer's blob.
        layer: Digest,
        /// Why not.
        cause: Box<UnpackError>,
    },
    /// The archive is not what the config says.
    #[error("layer {layer} unpacked is not what the config says: {cause}")]
    DiffId {
        /// The layer's blob.
        layer: Digest,
        /// What was expected, and what came out.
        cause: Box<Mismatch>,
    },
    /// The content store, apart from layers.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The snapshotter.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread stopped before it was done.
    #[error("the pull stopped before it was done")]
    Stopped,
}

impl PullError {
    /// Whether trying again later, with nothing changed here, may help.
    pub fn may_pass(&self) -> bool {
        matches!(self, PullError::Registry(RegistryError::Unreachable { .. }) | PullError::Stopped)
    }
}

fn list(platforms: &[Platform]) -> String {
    match platforms {
        [] => "no platform that it names".to_owned(),
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// An image that was pulled, or was here.
pub type PulledImage = Arc<ImageRecord>;

type Outcome = Result<PulledImage, PullError>;
type Flight = Shared<BoxFuture<'static, Outcome>>;
type WeakFlight = WeakShared<BoxFuture<'static, Outcome>>;

/// Pulls that may be shared are for the same, by the same, in the same way.
#[derive(PartialEq, Eq, Hash)]
struct FlightKey {
    name: ImageName,
    platform: Platform,
    policy: PullPolicy,
    credentials: Option<Digest>,
}

/// Pulls in progress. They are driven by who waits for them, and end when nobody does.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<FlightKey, (WeakFlight, Listeners)>>);

impl Images {
    /// Sees to it that an image is here, whole and (if this folder is for running) unpacked.
    ///
    /// However many ask for the same image, it is pulled once, and each layer once for all images.
    pub async fn pull(&self, name: &ImageName, platform: &Platform, options: &PullOptions) -> Outcome {
        if let Some(image) = self.inner.local(name, platform, options.policy) {
            return Ok(image);
        }
        if options.policy == PullPolicy::Never {
            return Err(PullError::NotHere(name.familiar()));
        }
        self.join_flight(name, platform, options).await
    }

    fn join_flight(&self, name: &ImageName, platform: &Platform, options: &PullOptions) -> Flight {
        let key = FlightKey {
            name: name.clone(),
            platform: platform.clone(),
            policy: options.policy,
            credentials: options.credentials.as_ref().map(Credentials::fingerprint),
        };
        let mut flights = self.inner.flights.0.lock();
        flights.retain(|_, (flight, _)| flight.upgrade().is_some());
        if let Some((flight, listeners)) = flights.get(&key)
            && let Some(flight) = flight.upgrade()
        {
            options.progress.iter().for_each(|p| listeners.add(p.clone()));
            return flight;
        }
        let listeners = Listeners::default();
        options.progress.iter().for_each(|p| listeners.add(p.clone()));
        let pull = Pull {
            images: self.clone(),
            name: name.clone(),
            platform: platform.clone(),
            credentials: options.credentials.clone(),
            listeners: listeners.clone(),
        };
        let always = options.policy == PullPolicy::Always;
        let flight = async move { pull.run(always).await }.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, (weak, listeners));
        }
        flight
    }
}

impl Inner {
    /// The image if it is here and nobody needs to be asked about it. A digest never stands for something else.
    fn local(&self, name: &ImageName, platform: &Platform, policy: PullPolicy) -> Option<PulledImage> {
        if policy == PullPolicy::Always && name.digest().is_none() {
            return None;
        }
        self.store.get(name).filter(|r| self.usable(r, platform))
    }

    /// Whether an image is for this platform and nothing of it has gone missing.
    fn usable(&self, record: &ImageRecord, platform: &Platform) -> bool {
        let whole = || match &self.snapshots {
            Some(snapshots) => record.unpacked && record.chain_ids.iter().all(|id| snapshots.has_layer(id)),
            None => record.blobs().all(|digest| self.content.contains(&digest)),
        };
        platform.fit(&record.platform).is_some() && whole()
    }
}

/// One pull in progress.
struct Pull {
    images: Images,
    name: ImageName,
    platform: Platform,
    credentials: Option<Credentials>,
    listeners: Listeners,
}

impl Pull {
    async fn run(&self, always: bool) -> Outcome {
        let mut name = self.name.clone();
        if let Some(digest) = self.name.digest() {
            if let Some(image) = self.alias(digest, digest).await? {
                return Ok(image);
            }
        } else if always && self.inner().store.get(&self.name).is_some() {
            // Asking what the tag stands for costs less than fetching it, and registries may not count it.
            if let Some(digest) = self.inner().registry.resolve(&self.name, self.credentials.as_ref()).await?
            {
                if let Some(image) = self.alias(&digest, &digest).await? {
                    return Ok(image);
                }
                name = name.with_digest(digest);
            }
        }
        let top = self.inner().registry.manifest(&name, self.credentials.as_ref()).await?;
        let mut pinned = self.inner().pins.none();
        pinned.add([top.descriptor.digest]);
        self.keep(&top).await?;
        let (descriptor, manifest) = match &top.document {
            Document::Manifest(manifest) => (top.descriptor.clone(), manifest.clone()),
            Document::Index(index) => {
                let entry = index.choose(&self.platform).ok_or_else(|| PullError::WrongPlatform {
                    name: self.name.familiar(),
                    wanted: self.platform.clone(),
                    available: index.platforms(),
                })?;
                if let Some(image) = self.alias(&entry.digest, &top.descriptor.digest).await? {
                    return Ok(image);
                }
                let child_name = self.name.with_digest(entry.digest);
                let child = self.inner().registry.manifest(&child_name, self.credentials.as_ref()).await?;
                pinned.add([child.descriptor.digest]);
                self.keep(&child).await?;
                let Document::Manifest(manifest) = child.document else {
                    return Err(PullError::NestedIndex { name: self.name.familiar() });
                };
                (child.descriptor, manifest)
            }
        };
        if let Some(image) = self.alias(&descriptor.digest, &top.descriptor.digest).await? {
            return Ok(image);
        }
        self.complete(top.descriptor.digest, descriptor, &manifest, pinned).await
    }

    /// Fetches config and layers, and records the image.
    async fn complete(
        &self,
        target: Digest,
        descriptor: Descriptor,
        manifest: &Manifest,
        mut pinned: Pinned,
    ) -> Outcome {
        pinned.add(manifest.layers.iter().map(|l| l.digest).chain([manifest.config.digest]));
        let config = self.config(manifest).await?;
        let chain_ids = config.chain_ids();
        pinned.add(chain_ids.iter().copied());
        let pinned = Arc::new(pinned);
        self.listeners.send(&ProgressEvent::Resolved {
            manifest: descriptor.digest,
            layers: manifest.layers.len(),
            bytes: manifest.layers.iter().map(|l| l.size).sum(),
        });
        let platform = config.platform().unwrap_or_else(|| self.platform.clone());
        self.fetch_layers(&manifest.layers, &config.rootfs.diff_ids, &chain_ids, &pinned).await?;
        let record = ImageRecord {
            name: self.name.clone(),
            target,
            manifest: descriptor,
            config_digest: manifest.config.digest,
            platform,
            layers: manifest.layers.clone(),
            chain_ids,
            unpacked: self.inner().snapshots.is_some(),
            created: config.created,
            stored_at: now(),
            config: config.config,
        };
        // The pins hold until the record does.
        self.blocking(move |inner| {
            let stored = inner.store.put(record);
            drop(pinned);
            Ok(stored?)
        })
        .await
    }

    /// The config, checked against the manifest and the platform.
    async fn config(&self, manifest: &Manifest) -> Result<ConfigFile, PullError> {
        let digest = manifest.config.digest;
        let kept = self.blocking(move |inner| Ok(inner.content.read(&digest, MAX_DOCUMENT).ok())).await?;
        let bytes = match kept {
            Some(bytes) => bytes.into(),
            None => {
                let credentials = self.credentials.as_ref();
                let bytes =
                    self.inner().registry.small_blob(&self.name, &manifest.config, credentials).await?;
                let kept = bytes.clone();
                self.blocking(move |inner| Ok(inner.content.put_as(&digest, &kept)?)).await?;
                bytes
            }
        };
        let bad = |cause| PullError::BadConfig { name: self.name.familiar(), cause };
        let config = ConfigFile::parse(&bytes).map_err(bad)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(bad(ConfigError::LayerCount { config: diff_ids, manifest: layers }));
        }
        match config.platform() {
            Some(platform) if self.platform.fit(&platform).is_none() => Err(PullError::WrongPlatform {
                name: self.name.familiar(),
                wanted: self.platform.clone(),
                available: vec![platform],
            }),
            _ => Ok(config),
        }
    }

    /// If the manifest is here, whole, under any name: records it under this one as well.
    async fn alias(&self, manifest: &Digest, target: &Digest) -> Result<Option<PulledImage>, PullError> {
        let inner = self.inner();
        let Some(found) = inner.store.find(manifest, |r| inner.usable(r, &self.platform)) else {
            return Ok(None);
        };
        if found.name == self.name && found.target == *target {
            return Ok(Some(found));
        }
        let record =
            ImageRecord { name: self.name.clone(), target: *target, stored_at: now(), ..(*found).clone() };
        self.blocking(move |inner| Ok(Some(inner.store.put(record)?))).await
    }

    async fn keep(&self, fetched: &Fetched) -> Result<(), PullError> {
        let (digest, bytes) = (fetched.descriptor.digest, fetched.bytes.clone());
        self.blocking(move |inner| Ok(inner.content.put_as(&digest, &bytes)?)).await
    }

    fn inner(&self) -> &Inner {
        &self.images.inner
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ImagesError> + Send + 'static,
    ) -> Result<T, PullError> {
        Ok(self.images.blocking(work).await?)
    }
}

impl From<ImagesError> for PullError {
    fn from(e: ImagesError) -> Self {
        match e {
            ImagesError::Content(e) => PullError::Content(e),
            ImagesError::Store(e) => PullError::Store(e),
            ImagesError::Snapshot(e) => PullError::Snapshot(e),
            ImagesError::NotFound(name) => PullError::NotHere(name),
            ImagesError::NotForRunning | ImagesError::Stopped => PullError::Stopped,
        }
    }
}

impl PullError {
    fn fetching(layer: Digest, e: FetchError) -> Self {
        match e {
            FetchError::Registry(e) => PullError::Registry(e),
            FetchError::Content(cause) => PullError::Layer { layer, cause: Box::new(cause) },
        }
    }
}
