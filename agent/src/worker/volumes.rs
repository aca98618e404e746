//! Makes what is to be mounted: folders of binds and volumes, and the image's content in a volume's first use.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use thiserror::Error;
use wharf_runtime::spec::{Mount, MountKind};

use crate::spec::{Source, Wanted};

/// Why a mount can't be made.
#[derive(Debug, Error)]
pub(super) enum VolumeError {
    /// A bind's source is not there, and is not to be made.
    #[error("volumes: {} does not exist on this node", .0.display())]
    NoSource(PathBuf),
    /// The file system refused.
    #[error("volumes: can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl VolumeError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| VolumeError::Io { what, path, source }
    }

    /// Whether this node can't run the task, whatever it tries.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, VolumeError::NoSource(_))
    }
}

/// Makes all of them. Blocks.
pub(super) fn make(wanted: Vec<Wanted>, rootfs: &Path) -> Result<Vec<Mount>, VolumeError> {
    wanted.into_iter().map(|one| make_one(one, rootfs)).collect()
}

fn make_one(wanted: Wanted, rootfs: &Path) -> Result<Mount, VolumeError> {
    let kind = match wanted.source {
        Source::Bind { path, create, propagation } => {
            if !path.exists() {
                if !create {
                    return Err(VolumeError::NoSource(path));
                }
                fs::create_dir_all(&path).map_err(VolumeError::io("create", &path))?;
            }
            MountKind::Bind { source: path, propagation, non_recursive: false }
        }
        Source::Volume { folder, copy } => {
            volume(&folder, copy.then_some((rootfs, wanted.target.as_path())))?;
            MountKind::Bind { source: folder, propagation: Default::default(), non_recursive: false }
        }
        Source::Tmpfs { size, mode } => MountKind::Tmpfs { size, mode, options: Vec::new() },
    };
    Ok(Mount { kind, target: wanted.target, read_only: wanted.read_only })
}

/// Makes a volume's folder if it isn't there, whole from the first moment that it has its name.
fn volume(folder: &Path, content: Option<(&Path, &Path)>) -> Result<(), VolumeError> {
    if folder.is_dir() {
        return Ok(());
    }
    let failed = |error: io::Error| VolumeError::io("make", folder)(error);
    let parent = folder.parent().unwrap_or(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    let staging = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(failed)?;
    let data = staging.path().join("_data");
    DirBuilder::new().mode(0o755).create(&data).map_err(failed)?;
    if let Some((rootfs, target)) = content {
        fill(rootfs, target, &data).map_err(VolumeError::io("copy the image's content to", folder))?;
    }
    match renameat2(AT_FDCWD, &data, AT_FDCWD, folder, RenameFlags::RENAME_NOREPLACE) {
        // Another task was faster: it's the same volume.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Copies what the image has at `target`, if it is a folder. No link leads out of the root filesystem.
fn fill(rootfs: &Path, target: &Path, data: &Path) -> io::Result<()> {
    let root = File::open(rootfs)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let source = match openat2(&root, target, how) {
        Ok(source) => source,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let source = PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd())).canonicalize()?;
    let mut folders = vec![(source, data.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (meta, to) = (entry.metadata()?, to.join(entry.file_name()));
            if meta.is_dir() {
                fs::create_dir(&to)?;
                folders.push((entry.path(), to));
            } else if meta.is_symlink() {
                symlink(fs::read_link(entry.path())?, &to)?;
                lchown(&to, Some(meta.uid()), Some(meta.gid()))?;
            } else if meta.is_file() {
                fs::copy(entry.path(), &to)?;
                take_over(&meta, &to)?;
            } else {
                tracing::debug!(path = %entry.path().display(), "a device or pipe is not copied to the volume");
            }
        }
        take_over(&fs::metadata(&from)?, &to)?;
    }
    Ok(())
}

/// Owner first: changing it takes set-user-id bits away.
fn take_over(meta: &Metadata, to: &Path) -> io::Result<()> {
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, meta.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_gets_the_images_content_once_and_never_anything_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        fs::create_dir_all(rootfs.join("data/sub")).unwrap();
        fs::write(rootfs.join("data/sub/file"), "from the image").unwrap();
        symlink("/etc/passwd", rootfs.join("data/link")).unwrap();
        symlink("../../../../../../../../etc", rootfs.join("escape")).unwrap();
        let folder = dir.path().join("volumes/v/_data");
        volume(&folder, Some((&rootfs, Path::new("/data")))).unwrap();
        assert_eq!(fs::read_to_string(folder.join("sub/file")).unwrap(), "from the image");
        assert!(folder.join("link").is_symlink());
        fs::write(folder.join("sub/file"), "changed").unwrap();
        volume(&folder, Some((&rootfs, Path::new("/data")))).unwrap();
        assert_eq!(fs::read_to_string(folder.join("sub/file")).unwrap(), "changed");

        let other = dir.path().join("volumes/w/_data");
        volume(&other, Some((&rootfs, Path::new("/escape")))).unwrap();
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }

    #[test]
    fn a_bind_without_a_source_is_refused_or_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let bind = |create| Wanted {
            target: "/x".into(),
            read_only: true,
            source: Source::Bind { path: path.clone(), create, propagation: Default::default() },
        };
        let error = make(vec![bind(false)], dir.path()).unwrap_err();
        assert!(error.is_permanent() && error.to_string().contains("does not exist"), "{error}");
        assert!(make(vec![bind(true)], dir.path()).unwrap()[0].read_only);
        assert!(path.is_dir());
    }
}
