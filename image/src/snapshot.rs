//! The overlayfs snapshotter: committed layers by chain id, and containers' root filesystems mounted over them.
//!
//! Under the root: `layers/ID` holds one unpacked layer each (short names keep mount options short),
//! `chains/DIGEST` is a symbolic link to a layer and makes it count as committed, `containers/KEY` holds a
//! container's `upper`, `work`, `rootfs` and the list of layers it needs, `staging` what is in the making or
//! on its way out.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rustix::fs::{FlockOperation, flock, syncfs};
use tempfile::TempDir;
use thiserror::Error;

use crate::digest::Digest;
use crate::fs_error::{Context, FsError, if_exists, sync_folder};
use crate::mounts::{Mounts, OverlayMount};

/// A lower folder with nothing in it, for images without layers.
const EMPTY: &str = "empty";

/// Names a container's snapshot: a plain file name of up to 128 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey(String);

/// The text can't name a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} can't name a snapshot: it takes up to 128 letters, digits, '.', '_' and '-'")]
pub struct SnapshotKeyError(String);

impl FromStr for SnapshotKey {
    type Err = SnapshotKeyError;

    fn from_str(text: &str) -> Result<Self, SnapshotKeyError> {
        let ok = (1..=128).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if ok {
            Ok(SnapshotKey(text.to_owned()))
        } else {
            Err(SnapshotKeyError(text.chars().take(140).collect()))
        }
    }
}

impl fmt::Display for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One container's root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub key: SnapshotKey,
    /// Where the root filesystem is mounted.
    pub rootfs: PathBuf,
    /// What the container has written.
    pub upper: PathBuf,
    /// Chain ids of the layers below, the lowest first.
    pub layers: Vec<Digest>,
    /// Whether it is mounted now; it isn't after the machine has restarted.
    pub mounted: bool,
}

/// What can go wrong with snapshots.
#[derive(Debug, Clone, Error)]
pub enum SnapshotError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Two agents on one folder would take each other's layers away.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The image was not unpacked, or was collected since.
    #[error("layer {0} is not unpacked here: pull the image again")]
    MissingLayer(Digest),
    /// The key stands for a snapshot of something else.
    #[error("snapshot {0} exists already, with other layers")]
    KeyInUse(SnapshotKey),
    /// The kernel did not mount it.
    #[error("can't mount an overlay at {}: {cause}", target.display())]
    Mount {
        /// Where.
        target: PathBuf,
        /// What the kernel said.
        cause: Arc<io::Error>,
    },
}

/// The snapshotter. Its calls block, each for about a millisecond unless files are deleted.
pub struct Snapshots {
    root: PathBuf,
    mounts: Arc<dyn Mounts>,
    chains: RwLock<HashMap<Digest, Arc<str>>>,
    next: AtomicU64,
    /// Held as long as this lives; the kernel lets go of it when the process dies.
    _lock: File,
}

impl Snapshots {
    /// Opens the snapshotter in `root`, dropping what a crash left half done. Containers' snapshots stay.
    pub fn open(root: &Path, mounts: Arc<dyn Mounts>) -> Result<Self, SnapshotError> {
        for folder in ["layers", "chains", "containers", "staging"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).context("create", &path)?;
        }
        let root = fs::canonicalize(root).context("find", root)?;
        make_folder(&root.join("layers").join(EMPTY), 0o755)?;
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).context("create", &lock_path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SnapshotError::Locked(root.clone()))?;
        for leftover in entries(&root.join("staging"))? {
            let path = root.join("staging").join(leftover);
            fs::remove_dir_all(&path).context("remove", &path)?;
        }
        let chains = committed(&root)?;
        let mut next = 1;
        for id in entries(&root.join("layers"))? {
            if chains.values().any(|used| **used == *id) {
                next = next.max(u64::from_str_radix(&id, 16).unwrap_or(0) + 1);
            } else if id != EMPTY {
                let path = root.join("layers").join(id);
                fs::remove_dir_all(&path).context("remove", &path)?;
            }
        }
        let (chains, next) = (RwLock::new(chains), AtomicU64::new(next));
        Ok(Snapshots { root, mounts, chains, next, _lock: lock })
    }

    /// Whether the layer with this chain id is unpacked.
    pub fn has_layer(&self, chain_id: &Digest) -> bool {
        self.chains.read().contains_key(chain_id)
    }

    /// The chain ids of all unpacked layers.
    pub fn layers(&self) -> Vec<Digest> {
        self.chains.read().keys().copied().collect()
    }

    /// The folders of `chain_ids` (the lowest first), the topmost first.
    pub fn folders(&self, chain_ids: &[Digest]) -> Result<Vec<PathBuf>, SnapshotError> {
        let chains = self.chains.read();
        let folder = |id: &Digest| {
            let name = chains.get(id).ok_or(SnapshotError::MissingLayer(*id))?;
            Ok(self.root.join("layers").join(&**name))
        };
        chain_ids.iter().rev().map(folder).collect()
    }

    /// A fresh folder to unpack a layer into.
    pub fn stage(&self) -> Result<StagedLayer<'_>, SnapshotError> {
        let staging = self.root.join("staging");
        let folder = TempDir::new_in(&staging).context("create a folder in", &staging)?;
        Ok(StagedLayer { snapshots: self, folder })
    }

    /// Makes and mounts a root filesystem over the layers `chain_ids`, the lowest first. Does nothing new for a key
    /// that has this already; mounts it again if the machine has restarted since.
    pub fn prepare(&self, key: &SnapshotKey, chain_ids: &[Digest]) -> Result<Snapshot, SnapshotError> {
        let folder = self.container(key);
        let mut lowers = self.folders(chain_ids)?;
        if lowers.is_empty() {
            lowers.push(self.root.join("layers").join(EMPTY));
        }
        let overlay = OverlayMount {
            upper: folder.join("upper"),
            work: folder.join("work"),
            target: folder.join("rootfs"),
            lowers,
        };
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if let Some(layers) = read_layers(&folder)? {
                    if layers != chain_ids {
                        return Err(SnapshotError::KeyInUse(key.clone()));
                    }
                    if self
                        .mounts
                        .list(&overlay.target)
                        .context("list mounts at", &overlay.target)?
                        .is_empty()
                    {
                        if_exists(fs::remove_dir_all(&overlay.work)).context("remove", &overlay.work)?;
                        make_folder(&overlay.work, 0o700)?;
                        self.mount(&overlay)?;
                    }
                    return Ok(self.snapshot(key, layers, true));
                }
                // A crash came before the list was written: nothing ever ran in there.
                self.remove(key)?;
                DirBuilder::new().mode(0o700).create(&folder).context("create", &folder)?;
            }
            Err(e) => return Err(FsError::new("create", &folder, e).into()),
        }
        // The root's own attributes come from the uppermost folder of the overlay, so they are handed on.
        let top = fs::metadata(&overlay.lowers[0]).context("look at", &overlay.lowers[0])?;
        make_folder(&overlay.upper, 0o755)?;
        chown(&overlay.upper, Some(top.uid()), Some(top.gid()))
            .context("change the owner of", &overlay.upper)?;
        fs::set_permissions(&overlay.upper, top.permissions()).context("change", &overlay.upper)?;
        make_folder(&overlay.work, 0o700)?;
        make_folder(&overlay.target, 0o700)?;
        let list: String = chain_ids.iter().map(|id| format!("{id}\n")).collect();
        let list_path = folder.join("layers");
        fs::write(&list_path, list).context("write", &list_path)?;
        if let Err(e) = self.mount(&overlay) {
            self.remove(key)?;
            return Err(e);
        }
        Ok(self.snapshot(key, chain_ids.to_vec(), true))
    }

    /// Unmounts and deletes a container's root filesystem with all that was written in it; whether there was one.
    pub fn remove(&self, key: &SnapshotKey) -> Result<bool, SnapshotError> {
        let folder = self.container(key);
        if !folder.exists() {
            return Ok(false);
        }
        let target = folder.join("rootfs");
        self.mounts.unmount(&target).context("unmount", &target)?;
        self.discard(&folder)?;
        Ok(true)
    }

    /// All containers' snapshots, with whether they are mounted as the kernel sees it now.
    pub fn list(&self) -> Result<Vec<Snapshot>, SnapshotError> {
        let folder = self.root.join("containers");
        let mounted = self.mounts.list(&folder).context("list mounts at", &folder)?;
        let mut snapshots = Vec::new();
        for name in entries(&folder)? {
            let Ok(key) = name.parse::<SnapshotKey>() else { continue };
            let layers = read_layers(&folder.join(&name))?.unwrap_or_default();
            let is_mounted = mounted.contains(&folder.join(&name).join("rootfs"));
            snapshots.push(self.snapshot(&key, layers, is_mounted));
        }
        snapshots.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(snapshots)
    }

    /// Takes a layer out of service at once; its files are deleted when the result is dropped.
    /// The caller has seen to it that no snapshot uses it.
    pub(crate) fn retire_layer(&self, chain_id: &Digest) -> Result<Option<Retired>, SnapshotError> {
        let Some(id) = self.chains.write().remove(chain_id) else { return Ok(None) };
        let link = self.root.join("chains").join(link_name(chain_id));
        if_exists(fs::remove_file(&link)).context("remove", &link)?;
        let staging = self.root.join("staging");
        let grave = TempDir::new_in(&staging).context("create a folder in", &staging)?;
        let layer = self.root.join("layers").join(&*id);
        fs::rename(&layer, grave.path().join("layer")).context("move", &layer)?;
        Ok(Some(Retired { _grave: grave }))
    }

    fn mount(&self, overlay: &OverlayMount) -> Result<(), SnapshotError> {
        self.mounts
            .mount_overlay(overlay)
            .map_err(|e| SnapshotError::Mount { target: overlay.target.clone(), cause: Arc::new(e) })
    }

    fn container(&self, key: &SnapshotKey) -> PathBuf {
        self.root.join("containers").join(&key.0)
    }

    fn snapshot(&self, key: &SnapshotKey, layers: Vec<Digest>, mounted: bool) -> Snapshot {
        let folder = self.container(key);
        Snapshot {
            key: key.clone(),
            rootfs: folder.join("rootfs"),
            upper: folder.join("upper"),
            layers,
            mounted,
        }
    }

    /// Moves a folder out of sight in one step, then deletes it.
    fn discard(&self, folder: &Path) -> Result<(), FsError> {
        let staging = self.root.join("staging");
        let grave = TempDir::new_in(&staging).context("create a folder in", &staging)?;
        fs::rename(folder, grave.path().join("gone")).context("move", folder)?;
        let path = grave.path().to_owned();
        grave.close().context("remove", &path)
    }
}

/// A layer that is out of service; dropping this deletes its files.
pub(crate) struct Retired {
    _grave: TempDir,
}

/// A layer in the making. Dropping it removes it.
pub struct StagedLayer<'a> {
    snapshots: &'a Snapshots,
    folder: TempDir,
}

impl StagedLayer<'_> {
    /// Where to unpack to.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the layer durable and commits it under its chain id; if another has done so before, that one stays.
    pub fn commit(self, chain_id: &Digest) -> Result<(), SnapshotError> {
        let snapshots = self.snapshots;
        if snapshots.has_layer(chain_id) {
            return Ok(());
        }
        let path = self.folder.path();
        let file = File::open(path).context("open", path)?;
        syncfs(&file).context("sync", path)?;
        let id = format!("{:x}", snapshots.next.fetch_add(1, Ordering::Relaxed));
        let layer = snapshots.root.join("layers").join(&id);
        fs::rename(path, &layer).context("move", path)?;
        let chains = snapshots.root.join("chains");
        let link = chains.join(link_name(chain_id));
        symlink(Path::new("../layers").join(&id), &link).context("create", &link)?;
        sync_folder(&snapshots.root.join("layers"))?;
        sync_folder(&chains)?;
        snapshots.chains.write().insert(*chain_id, id.into());
        Ok(())
    }
}

fn link_name(chain_id: &Digest) -> String {
    chain_id.to_string().replace(':', "-")
}

/// The committed layers: links by chain id whose folder is there.
fn committed(root: &Path) -> Result<HashMap<Digest, Arc<str>>, SnapshotError> {
    let folder = root.join("chains");
    let mut chains = HashMap::new();
    for name in entries(&folder)? {
        let link = folder.join(&name);
        let target = fs::read_link(&link).context("read", &link)?;
        let id = target.file_name().and_then(|n| n.to_str());
        match (name.replacen('-', ":", 1).parse(), id) {
            (Ok(chain_id), Some(id)) if root.join("layers").join(id).is_dir() => {
                chains.insert(chain_id, id.into());
            }
            _ => fs::remove_file(&link).context("remove", &link)?,
        }
    }
    Ok(chains)
}

/// The layers a container's folder says it needs; none if it doesn't say.
fn read_layers(folder: &Path) -> Result<Option<Vec<Digest>>, FsError> {
    let path = folder.join("layers");
    let Some(text) = if_exists(fs::read_to_string(&path)).context("read", &path)? else { return Ok(None) };
    Ok(text.lines().map(str::parse).collect::<Result<_, _>>().ok())
}

fn entries(folder: &Path) -> Result<Vec<String>, FsError> {
    fs::read_dir(folder)
        .context("read", folder)?
        .map(|entry| Ok(entry.context("read", folder)?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Makes a folder with exactly this mode, whatever the umask; one that is there already is fine.
fn make_folder(path: &Path, mode: u32) -> Result<(), FsError> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(FsError::new("create", path, e)),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("change", path),
    }
}
