//! Which images are here: a record for each name, kept in memory and in one small file each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::fs_error::{Context, FsError, if_exists, sync_folder, write_atomically};
use crate::manifest::{Descriptor, MAX_DOCUMENT};
use crate::platform::Platform;
use crate::reference::ImageName;

/// An image that is here, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The name it was asked for by.
    pub name: ImageName,
    /// What the name stood for in the registry: an index, or the manifest itself.
    pub target: Digest,
    /// The manifest for [`ImageRecord::platform`].
    pub manifest: Descriptor,
    /// The config's digest, Docker's "image id".
    pub config_digest: Digest,
    /// The platform it is for.
    pub platform: Platform,
    /// The layers' blobs, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The layers' chain ids, the lowest first.
    pub chain_ids: Vec<Digest>,
    /// Whether the layers are unpacked in the snapshotter here.
    pub unpacked: bool,
    /// When it was built, RFC 3339, if it says so.
    pub created: Option<String>,
    /// When it came here, in seconds since 1970.
    pub stored_at: u64,
    /// What to run.
    pub config: ImageConfig,
}

impl ImageRecord {
    /// Compressed bytes of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|l| l.size).sum()
    }

    /// The blobs it is made of.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        [self.target, self.manifest.digest, self.config_digest]
            .into_iter()
            .chain(self.layers.iter().map(|l| l.digest))
    }
}

/// What can go wrong with records.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A record could not be written as JSON.
    #[error("can't write the record of image {name}: {cause}")]
    Encode {
        /// Of which image.
        name: String,
        /// Why not.
        cause: String,
    },
}

/// All records. Reading is from memory.
#[derive(Debug)]
pub struct ImageStore {
    folder: PathBuf,
    records: RwLock<BTreeMap<ImageName, Arc<ImageRecord>>>,
}

impl ImageStore {
    /// Opens the store in `folder`. A file that can't be read as a record is passed over: the image is pulled again.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).context("create", folder)?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(folder).context("read", folder)? {
            let path = entry.context("read", folder)?.path();
            if path.extension().is_none_or(|e| e != "json") {
                // What a crash left of writing one.
                if_exists(fs::remove_file(&path)).context("remove", &path)?;
                continue;
            }
            let size = fs::metadata(&path).context("look at", &path)?.len();
            let record =
                (size <= MAX_DOCUMENT).then(|| fs::read(&path)).transpose().context("read", &path)?;
            match record.map(|bytes| serde_json::from_slice::<ImageRecord>(&bytes)) {
                Some(Ok(record)) => {
                    records.insert(record.name.clone(), Arc::new(record));
                }
                _ => {
                    tracing::warn!(path = %path.display(), "passing over an image record that can't be read");
                }
            }
        }
        Ok(ImageStore { folder: folder.to_owned(), records: RwLock::new(records) })
    }

    /// The record for exactly this name.
    pub fn get(&self, name: &ImageName) -> Option<Arc<ImageRecord>> {
        self.records.read().get(name).cloned()
    }

    /// Any record of the image that `digest` stands for, as a manifest or as an index.
    pub fn find(&self, digest: &Digest, fits: impl Fn(&ImageRecord) -> bool) -> Option<Arc<ImageRecord>> {
        let records = self.records.read();
        records.values().find(|r| (r.manifest.digest == *digest || r.target == *digest) && fits(r)).cloned()
    }

    /// All records, by name.
    pub fn list(&self) -> Vec<Arc<ImageRecord>> {
        self.records.read().values().cloned().collect()
    }

    /// Puts a record in, in place of an older one of the same name.
    pub fn put(&self, record: ImageRecord) -> Result<Arc<ImageRecord>, StoreError> {
        let json = serde_json::to_vec(&record)
            .map_err(|e| StoreError::Encode { name: record.name.to_string(), cause: e.to_string() })?;
        let mut records = self.records.write();
        write_atomically(&self.file(&record.name), &json)?;
        let record = Arc::new(record);
        records.insert(record.name.clone(), record.clone());
        Ok(record)
    }

    /// Takes a record out; whether it was there. Its content stays until a collection.
    pub fn remove(&self, name: &ImageName) -> Result<bool, StoreError> {
        let mut records = self.records.write();
        if records.remove(name).is_none() {
            return Ok(false);
        }
        let path = self.file(name);
        if_exists(fs::remove_file(&path)).context("remove", &path)?;
        sync_folder(&self.folder)?;
        Ok(true)
    }

    fn file(&self, name: &ImageName) -> PathBuf {
        self.folder.join(format!("{}.json", Digest::of(name.to_string().as_bytes()).hex()))
    }
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
