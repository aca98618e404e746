//! Free space on the disk, and when there is too little of it to take on new changes.

/// Free space that raft keeps for itself: what it has promised to write, and its snapshots.
const FLOOR: u64 = 64 << 20;
/// On a small disk less is kept: this part of it.
const PART: u64 = 20;

/// The space on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be used.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Space {
    /// Whether new changes have to wait until there is more.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.free < FLOOR.min(self.total / PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_less_free() {
        let short = |free, total| Space { free, total }.is_short();
        assert!(short(63 << 20, 1 << 40) && !short(64 << 20, 1 << 40));
        assert!(short(4 << 20, 100 << 20) && !short(5 << 20, 100 << 20));
    }
}
