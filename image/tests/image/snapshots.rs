//! The snapshotter on real overlays, and its dealings with the kernel as a recording sees them.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use wharf_image::Digest;
use wharf_image::mounts::{KernelMounts, Mounts, OverlayMount};
use wharf_image::snapshot::{SnapshotError, SnapshotKey, Snapshots};

use crate::support::Folder;

fn key(text: &str) -> SnapshotKey {
    text.parse().unwrap()
}

/// Commits `count` layers, each with a file of its own and one that all have.
fn commit(snapshots: &Snapshots, count: usize) -> Vec<Digest> {
    (0..count)
        .map(|i| {
            let staged = snapshots.stage().unwrap();
            fs::write(staged.path().join(format!("layer-{i}")), i.to_string()).unwrap();
            fs::write(staged.path().join("topmost"), i.to_string()).unwrap();
            let chain_id = Digest::of(format!("{i}").as_bytes());
            staged.commit(&chain_id).unwrap();
            chain_id
        })
        .collect()
}

#[test]
fn mounts_as_many_layers_as_an_image_may_have() {
    // Long paths: they would not fit a mount's option string 128 times. The longer does not fit a parameter of the
    // newer kernel interface either, so the older one is used, as on older kernels.
    for path in ["long-name-".repeat(12), ["long-name-".repeat(20), "long-name-".repeat(20)].join("/")] {
        let folder = Folder::new();
        let snapshots = Snapshots::open(&folder.join(&path), Arc::new(KernelMounts)).unwrap();
        let layers = commit(&snapshots, 128);
        let snapshot = snapshots.prepare(&key("many"), &layers).unwrap();
        assert_eq!(fs::read_to_string(snapshot.rootfs.join("topmost")).unwrap(), "127");
        for i in [0, 64, 127] {
            assert_eq!(
                fs::read_to_string(snapshot.rootfs.join(format!("layer-{i}"))).unwrap(),
                i.to_string()
            );
        }
        assert!(snapshots.remove(&key("many")).unwrap());
    }
}

#[test]
fn the_root_has_the_attributes_of_the_top_layer() {
    let folder = Folder::new();
    let snapshots = Snapshots::open(folder.path(), Arc::new(KernelMounts)).unwrap();
    let staged = snapshots.stage().unwrap();
    chown(staged.path(), Some(7), Some(8)).unwrap();
    fs::set_permissions(staged.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let chain_id = Digest::of(b"x");
    staged.commit(&chain_id).unwrap();
    let snapshot = snapshots.prepare(&key("c"), &[chain_id]).unwrap();
    let root = snapshot.rootfs.metadata().unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o711, 7, 8));
}

#[test]
fn an_image_without_layers_is_an_empty_root() {
    let folder = Folder::new();
    let snapshots = Snapshots::open(folder.path(), Arc::new(KernelMounts)).unwrap();
    let snapshot = snapshots.prepare(&key("scratch"), &[]).unwrap();
    assert_eq!(fs::read_dir(&snapshot.rootfs).unwrap().count(), 0);
    fs::write(snapshot.rootfs.join("x"), b"y").unwrap();
}

#[test]
fn is_found_again_and_mounted_again() {
    let folder = Folder::new();
    let (layers, snapshot) = {
        let snapshots = Snapshots::open(folder.path(), Arc::new(KernelMounts)).unwrap();
        let layers = commit(&snapshots, 2);
        let snapshot = snapshots.prepare(&key("c"), &layers).unwrap();
        fs::write(snapshot.rootfs.join("written"), b"before").unwrap();
        (layers, snapshot)
    };
    // What a crash leaves: a layer that was never committed, one half unpacked, a container half made.
    fs::create_dir(folder.join("layers/ff")).unwrap();
    fs::create_dir(folder.join("staging/half")).unwrap();
    fs::create_dir(folder.join("containers/half")).unwrap();
    let snapshots = Snapshots::open(folder.path(), Arc::new(KernelMounts)).unwrap();
    assert!(!folder.join("layers/ff").exists() && !folder.join("staging/half").exists());
    assert!(snapshots.list().unwrap().contains(&snapshot));
    snapshots.prepare(&key("half"), &layers).unwrap();
    // As after a restart of the machine.
    KernelMounts.unmount(&snapshot.rootfs).unwrap();
    let found = snapshots.list().unwrap().into_iter().find(|s| s.key == key("c")).unwrap();
    assert!(!found.mounted);
    let again = snapshots.prepare(&key("c"), &layers).unwrap();
    assert_eq!(again, snapshot);
    assert_eq!(fs::read(again.rootfs.join("written")).unwrap(), b"before");
    assert!(matches!(snapshots.prepare(&key("c"), &layers[..1]), Err(SnapshotError::KeyInUse(_))));
    assert!(matches!(
        snapshots.prepare(&key("d"), &[Digest::of(b"unknown")]),
        Err(SnapshotError::MissingLayer(_))
    ));
    assert_eq!(snapshots.list().unwrap().len(), 2, "a refused snapshot leaves nothing");
}

#[test]
fn a_busy_root_is_taken_down_all_the_same() {
    let folder = Folder::new();
    let snapshots = Snapshots::open(folder.path(), Arc::new(KernelMounts)).unwrap();
    let layers = commit(&snapshots, 1);
    let snapshot = snapshots.prepare(&key("busy"), &layers).unwrap();
    let held = fs::File::create(snapshot.rootfs.join("held")).unwrap();
    assert!(snapshots.remove(&key("busy")).unwrap());
    assert!(!snapshot.rootfs.exists());
    drop(held);
}

#[test]
fn keys_are_plain_names() {
    for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a b", &"x".repeat(129)] {
        assert!(bad.parse::<SnapshotKey>().is_err(), "{bad}");
    }
    assert!("shop_web.3-abc".parse::<SnapshotKey>().is_ok());
}

/// Remembers what it was asked for, and refuses when told to.
#[derive(Default)]
struct Recorded {
    mounted: Mutex<Vec<OverlayMount>>,
    refuse: bool,
}

impl Mounts for Recorded {
    fn mount_overlay(&self, overlay: &OverlayMount) -> io::Result<()> {
        if self.refuse {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        self.mounted.lock().push(overlay.clone());
        Ok(())
    }

    fn unmount(&self, target: &Path) -> io::Result<()> {
        self.mounted.lock().retain(|m| m.target != target);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mounted = self.mounted.lock();
        Ok(mounted.iter().map(|m| m.target.clone()).filter(|t| t.starts_with(folder)).collect())
    }
}

#[test]
fn asks_the_kernel_for_one_mount_with_the_topmost_layer_first() {
    let folder = Folder::new();
    let recorded = Arc::new(Recorded::default());
    let snapshots = Snapshots::open(folder.path(), recorded.clone()).unwrap();
    let layers = commit(&snapshots, 2);
    let snapshot = snapshots.prepare(&key("c"), &layers).unwrap();
    snapshots.prepare(&key("c"), &layers).unwrap();
    {
        let mounted = recorded.mounted.lock();
        let [mount] = mounted.as_slice() else { panic!("{mounted:?}") };
        assert_eq!((&mount.target, &mount.upper), (&snapshot.rootfs, &snapshot.upper));
        assert!(mount.lowers[0].join("layer-1").exists() && mount.lowers[1].join("layer-0").exists());
    }
    snapshots.remove(&key("c")).unwrap();
    assert!(recorded.mounted.lock().is_empty());
}

#[test]
fn a_refused_mount_leaves_nothing() {
    let folder = Folder::new();
    let recorded = Recorded { refuse: true, ..Recorded::default() };
    let snapshots = Snapshots::open(folder.path(), Arc::new(recorded)).unwrap();
    assert!(matches!(snapshots.prepare(&key("c"), &[]), Err(SnapshotError::Mount { .. })));
    assert!(snapshots.list().unwrap().is_empty());
}
