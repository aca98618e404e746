//! Mounting, behind a narrow trait: overlays are put together, taken down and found again.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount, move_mount, unmount,
};

/// An overlay to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayMount {
    /// The read-only layers, the topmost first; at least one.
    pub lowers: Vec<PathBuf>,
    /// What is written goes here.
    pub upper: PathBuf,
    /// The kernel's own folder, on the same file system as `upper`.
    pub work: PathBuf,
    /// Where the whole appears.
    pub target: PathBuf,
}

/// What the snapshotter needs from the kernel.
pub trait Mounts: Send + Sync {
    /// Mounts an overlay.
    fn mount_overlay(&self, overlay: &OverlayMount) -> io::Result<()>;
    /// Takes down what is mounted at `target`, at the latest when its last user is gone; nothing there is fine.
    fn unmount(&self, target: &Path) -> io::Result<()>;
    /// The mount points under `folder`.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The kernel's own mounts, in this process's mount namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelMounts;

impl Mounts for KernelMounts {
    fn mount_overlay(&self, overlay: &OverlayMount) -> io::Result<()> {
        match mount_by_parts(overlay) {
            // Before Linux 6.5 there is no `lowerdir+`, before 5.2 no fsopen.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                mount_by_options(overlay)
            }
            result => Ok(result?),
        }
    }

    fn unmount(&self, target: &Path) -> io::Result<()> {
        let gone = |e| matches!(e, rustix::io::Errno::INVAL | rustix::io::Errno::NOENT);
        match unmount(target, UnmountFlags::NOFOLLOW) {
            Err(rustix::io::Errno::BUSY) => {
                Ok(unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?)
            }
            Err(e) if gone(e) => Ok(()),
            result => Ok(result?),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let table = fs::read("/proc/self/mountinfo")?;
        Ok(mount_points(&table).into_iter().filter(|p| p.starts_with(folder)).collect())
    }
}

/// Each layer as a parameter of its own, so that no page-size limit counts them.
fn mount_by_parts(overlay: &OverlayMount) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for lower in &overlay.lowers {
        fsconfig_set_string(&context, "lowerdir+", lower.as_path())?;
    }
    fsconfig_set_string(&context, "upperdir", overlay.upper.as_path())?;
    fsconfig_set_string(&context, "workdir", overlay.work.as_path())?;
    fsconfig_create(&context)?;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&mounted, "", CWD, overlay.target.as_path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// The old way: all in one string of at most a page. The lowers' common folder becomes the working directory of a
/// thread that shares it with nobody, so that each takes only a few bytes.
fn mount_by_options(overlay: &OverlayMount) -> io::Result<()> {
    let folder = overlay.lowers.first().and_then(|l| l.parent()).unwrap_or(Path::new("/")).to_owned();
    let overlay = overlay.clone();
    let thread = std::thread::Builder::new().name("mount".into()).spawn(move || -> io::Result<()> {
        // SAFETY: this flag only gives the calling thread its own working directory, root and umask; no memory
        // or file descriptor is affected, and the thread ends right after the mount.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?;
        rustix::process::chdir(&folder)?;
        let mut options = b"lowerdir=".to_vec();
        for (i, lower) in overlay.lowers.iter().enumerate() {
            if i > 0 {
                options.push(b':');
            }
            escape(lower.strip_prefix(&folder).unwrap_or(lower), &mut options);
        }
        for (key, path) in [(&b",upperdir="[..], &overlay.upper), (b",workdir=", &overlay.work)] {
            options.extend_from_slice(key);
            escape(path, &mut options);
        }
        let options = std::ffi::CString::new(options)?;
        mount("overlay", &overlay.target, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
        Ok(())
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread failed")))
}

/// Overlay's own escapes within its option string.
fn escape(path: &Path, out: &mut Vec<u8>) {
    for &b in path.as_os_str().as_bytes() {
        if matches!(b, b':' | b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
}

/// The fifth field of each line of a mountinfo table, with its octal escapes undone.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    table
        .split(|&b| b == b'\n')
        .filter_map(|line| line.split(|&b| b == b' ').nth(4))
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
        .collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&b, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| b == b'\\' && d.iter().all(|c| (b'0'..=b'7').contains(c)));
        if let Some(digits) = octal {
            let value = digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0'));
            out.push(value as u8);
            rest = &tail[3..];
        } else {
            out.push(b);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mount_points() {
        let table =
            b"1 2 0:3 / /plain rw - ext4 x rw\n4 5 0:6 / /with\\040space\\134 rw - overlay y rw\n\nbad\n";
        assert_eq!(mount_points(table), [PathBuf::from("/plain"), PathBuf::from("/with space\\")]);
    }

    #[test]
    fn escapes_what_overlay_would_split_at() {
        let mut out = Vec::new();
        escape(Path::new("/a:b,c\\d"), &mut out);
        assert_eq!(out, b"/a\\:b\\,c\\\\d");
    }
}
