//! Making an image of one layer out of a root filesystem: a tar archive or a folder.
//!
//! The same input makes the same digests: names are sorted, times and owners normalized, compression fixed.

mod folder;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use thiserror::Error;

use crate::archive::{ArchiveError, ArchiveReader};
use crate::compression::decompressed;
use crate::config::{ConfigFile, History, ImageConfig, RootFs};
use crate::content::{BlobWriter, ContentError};
use crate::digest::{Digest, Hasher, Hashing};
use crate::fs_error::{Context, FsError};
use crate::images::{Images, ImagesError, Inner};
use crate::manifest::{Descriptor, Manifest, media_type};
use crate::platform::Platform;
use crate::progress::Listeners;
use crate::pull::PullError;
use crate::reference::ImageName;
use crate::store::{ImageRecord, now};
use crate::unpack::{UnpackError, check_name};

/// Where the root filesystem comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportSource {
    /// A tar archive, plain, gzip or zstd; it is taken over as it is.
    Tar(PathBuf),
    /// A folder. Its files' times become the image's epoch, 1970.
    Folder {
        /// The folder that becomes `/`.
        path: PathBuf,
        /// Who owns all files, as user and group id; none keeps the owners they have.
        owner: Option<(u32, u32)>,
    },
}

/// What the image should say of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSpec {
    /// What to run.
    pub config: ImageConfig,
    /// What it is for.
    pub platform: Platform,
    /// When it was made, RFC 3339; none stands for 1970, so that the digest depends on the content alone.
    pub created: Option<String>,
    /// A note in its history.
    pub comment: Option<String>,
}

impl Default for ImportSpec {
    fn default() -> Self {
        ImportSpec {
            config: ImageConfig::default(),
            platform: Platform::host(),
            created: None,
            comment: Some("imported by wharf".to_owned()),
        }
    }
}

/// Why no image was made.
#[derive(Debug, Clone, Error)]
pub enum ImportError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The archive is of no use.
    #[error("{}: {cause}", path.display())]
    BadArchive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        cause: UnpackError,
    },
    /// A document could not be written as JSON.
    #[error("can't write the image's config: {0}")]
    Encode(String),
    /// The image was made, but could not be unpacked here.
    #[error(transparent)]
    Unpack(Box<PullError>),
    /// This side's stores.
    #[error(transparent)]
    Images(#[from] ImagesError),
}

impl From<PullError> for ImportError {
    fn from(e: PullError) -> Self {
        ImportError::Unpack(Box::new(e))
    }
}

impl From<ContentError> for ImportError {
    fn from(e: ContentError) -> Self {
        ImportError::Images(e.into())
    }
}

const EPOCH: &str = "1970-01-01T00:00:00Z";
/// What may stand behind an archive's end: tools pad to their record size.
const MAX_TRAILER: u64 = 64 << 20;

/// Writes a layer: hashed as it is, compressed, and hashed again.
type LayerWriter = Hashing<GzEncoder<BlobWriter>>;

impl Images {
    /// Makes an image of one layer from `source` and keeps it under `name`.
    pub async fn import(
        &self,
        source: ImportSource,
        spec: ImportSpec,
        name: &ImageName,
    ) -> Result<Arc<ImageRecord>, ImportError> {
        let (images, name) = (self.clone(), name.clone());
        let made = tokio::task::spawn_blocking(move || {
            let mut pinned = images.inner.pins.none();
            let mut record = make(&images.inner, &source, spec, name, &mut pinned)?;
            record.unpacked = images.inner.snapshots.is_some();
            Ok::<_, ImportError>((record, pinned))
        });
        let (record, pinned) = made.await.unwrap_or(Err(ImagesError::Stopped.into()))?;
        let pinned = Arc::new(pinned);
        for layer in &record.layers {
            // With a single layer, the chain id is the diff id.
            let diff_id = record.chain_ids[0];
            self.unpack(layer, diff_id, &record.chain_ids, pinned.clone(), &Listeners::default()).await?;
        }
        let stored = self.blocking(move |inner| Ok(inner.store.put(record)?)).await?;
        drop(pinned);
        Ok(stored)
    }
}

fn make(
    inner: &Inner,
    source: &ImportSource,
    spec: ImportSpec,
    name: ImageName,
    pinned: &mut crate::flight::Pinned,
) -> Result<ImageRecord, ImportError> {
    let writer = inner.content.writer(Hasher::sha256())?;
    let mut layer = Hashing::new(GzEncoder::new(writer, Compression::new(6)), Hasher::sha256());
    match source {
        ImportSource::Tar(path) => copy_archive(path, &mut layer)?,
        ImportSource::Folder { path, owner } => folder::archive(path, *owner, &mut layer)?,
    }
    let (gzip, diff_id, _) = layer.finish();
    let blob = gzip.finish().context("write in", Path::new("the content store"))?;
    // Pinned before it is visible: a collection may run at any time.
    pinned.add([blob.digest(), diff_id]);
    let (digest, size) = blob.commit(None, None)?;
    let layers = vec![Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size)];
    let created = spec.created.unwrap_or_else(|| EPOCH.to_owned());
    let config = ConfigFile {
        created: Some(created.clone()),
        architecture: spec.platform.architecture.clone(),
        os: spec.platform.os.clone(),
        variant: spec.platform.variant.clone(),
        config: spec.config,
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        history: vec![History { created: Some(created), comment: spec.comment, ..History::default() }],
    };
    let config_bytes = encode(&config)?;
    let config_digest = Digest::of(&config_bytes);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: Descriptor::new(media_type::OCI_CONFIG, config_digest, config_bytes.len() as u64),
        layers: layers.clone(),
        annotations: Default::default(),
    };
    let manifest_bytes = encode(&manifest)?;
    let manifest_digest = Digest::of(&manifest_bytes);
    pinned.add([config_digest, manifest_digest]);
    inner.content.put_as(&config_digest, &config_bytes)?;
    inner.content.put_as(&manifest_digest, &manifest_bytes)?;
    Ok(ImageRecord {
        name,
        target: manifest_digest,
        manifest: Descriptor::new(media_type::OCI_MANIFEST, manifest_digest, manifest_bytes.len() as u64),
        config_digest,
        platform: spec.platform,
        layers,
        chain_ids: vec![diff_id],
        unpacked: false,
        created: config.created,
        stored_at: now(),
        config: config.config,
    })
}

fn encode(document: &impl serde::Serialize) -> Result<Vec<u8>, ImportError> {
    serde_json::to_vec(document).map_err(|e| ImportError::Encode(e.to_string()))
}

/// Takes an archive over byte for byte, reading it on the way: a bad one is noticed here and not on a node.
fn copy_archive(path: &Path, layer: &mut LayerWriter) -> Result<(), ImportError> {
    let file = File::open(path).context("open", path)?;
    let mut failed = None;
    let checked = check_archive(file, layer, &mut failed);
    // The archive reader can't tell our side's errors from its own.
    if let Some(e) = failed {
        return Err(FsError::new("write a layer from", path, e).into());
    }
    checked.map_err(|cause| ImportError::BadArchive { path: path.to_owned(), cause })
}

fn check_archive(
    file: File,
    layer: &mut LayerWriter,
    failed: &mut Option<io::Error>,
) -> Result<(), UnpackError> {
    let plain = decompressed(file).map_err(ArchiveError::Read)?;
    let mut archive = ArchiveReader::new(Tee { source: plain, copy: layer, failed });
    let mut entries = 0u64;
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        check_name(&entry.path).map_err(|reason| UnpackError::entry(&entry.path, reason))?;
    }
    if entries == 0 {
        return Err(UnpackError::BadArchive("it is empty".to_owned()));
    }
    archive.finish(MAX_TRAILER)?;
    Ok(())
}

/// Copies what is read.
struct Tee<'a, R, W> {
    source: R,
    copy: &'a mut W,
    failed: &'a mut Option<io::Error>,
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        if let Err(e) = self.copy.write_all(&buf[..n]) {
            *self.failed = Some(e);
            return Err(io::Error::other("the copy can't be written"));
        }
        Ok(n)
    }
}
