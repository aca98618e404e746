//! Leaves room on the disk that images are written to: what shares it (the agent's database, containers' output) must
//! be able to go on when an image turns out to be too large.

use std::fs::File;
use std::io;

use rustix::fs::fstatvfs;

/// Bytes written between two looks at the disk.
const STRIDE: u64 = 256 << 10;
/// Room that is left, at most; a twentieth of a smaller disk.
const MOST: u64 = 256 << 20;

/// Counts what is written, and looks at the disk every now and then.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    unseen: Option<u64>,
}

impl Headroom {
    /// To be asked before `len` bytes are written to `file`: fails as a full disk does when that would use the last
    /// room.
    pub(crate) fn before(&mut self, file: &File, len: usize) -> io::Result<()> {
        let unseen = self.unseen.map(|seen| seen + len as u64);
        if unseen.is_some_and(|unseen| unseen < STRIDE) {
            self.unseen = unseen;
            return Ok(());
        }
        self.unseen = Some(0);
        let disk = fstatvfs(file)?;
        let total = disk.f_blocks.saturating_mul(disk.f_frsize);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // A file system that doesn't count its blocks is asked by writing to it.
        if total > 0 && free < (total / 20).min(MOST) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}
