//! A temporary folder that is unmounted and removed whatever the test does.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use wharf_image::mounts::{KernelMounts, Mounts};

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests mount and change owners: run them as root"
        );
        Folder(tempfile::Builder::new().prefix("wharf-image-").tempdir().unwrap())
    }

    /// A folder on a file system of its own, of so many KiB.
    pub(crate) fn small(kib: u32) -> Self {
        let folder = Folder::new();
        let options = std::ffi::CString::new(format!("size={kib}k")).unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// All files below a sub-folder, as paths relative to it.
    pub(crate) fn files(&self, name: &str) -> Vec<PathBuf> {
        let root = self.join(name);
        let entries = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
        let mut files: Vec<PathBuf> = entries
            .filter(|e| e.file_type().is_file())
            .map(|e| e.path().strip_prefix(&root).unwrap().to_owned())
            .collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut mounted = KernelMounts.list(self.path()).unwrap_or_default();
        mounted.sort();
        for target in mounted.iter().rev() {
            let _ = unmount(target, UnmountFlags::DETACH);
        }
    }
}
