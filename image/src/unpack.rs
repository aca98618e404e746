//! Applies a layer's archive to a folder, for overlayfs, without ever touching anything outside that folder.

mod tree;

use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::archive::{ArchiveError, ArchiveReader, show};
use crate::compression::decompressed;
use crate::digest::{Digest, Hasher, Hashing};
use crate::fs_error::FsError;
use crate::unpack::tree::Tree;

pub(crate) use crate::unpack::tree::check_name;

/// How much one layer may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// The most files, folders and links.
    pub entries: u64,
    /// The most bytes of data, decompressed.
    pub bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        UnpackLimits { entries: 2_000_000, bytes: 64 << 30 }
    }
}

/// What a layer has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the decompressed archive.
    pub diff_id: Digest,
    /// Entries in it.
    pub entries: u64,
    /// Bytes of files' data.
    pub bytes: u64,
}

/// Why a layer was not applied. What was written so far is the caller's to remove.
#[derive(Debug, Clone, Error)]
pub enum UnpackError {
    /// The file system refused, above all because it is full.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// One entry can't be made, or would leave the root.
    #[error("bad archive: entry {entry}: {reason}")]
    BadEntry {
        /// Its name.
        entry: String,
        /// Why not.
        reason: String,
    },
    /// The archive as a whole.
    #[error("bad archive: {0}")]
    BadArchive(String),
    /// Over one of [`UnpackLimits`].
    #[error("bad archive: more than {limit} {what} in one layer")]
    Limit {
        /// What of.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
}

impl UnpackError {
    pub(crate) fn entry(entry: &[u8], reason: impl Into<String>) -> Self {
        UnpackError::BadEntry { entry: show(entry), reason: reason.into() }
    }
}

impl From<ArchiveError> for UnpackError {
    fn from(e: ArchiveError) -> Self {
        UnpackError::BadArchive(e.to_string())
    }
}

/// Unpacks the layer `source` (plain, gzip or zstd) into the empty folder `target`. `lowers` are the folders of the
/// layers below, the topmost first: attributes of folders that the archive only implies come from there, and so
/// do files that it only links to.
///
/// This blocks for as long as it takes; whiteouts, owners and devices need root.
pub fn unpack_layer(
    source: impl Read + Send,
    target: &Path,
    lowers: &[PathBuf],
    limits: UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    let plain = decompressed(source).map_err(ArchiveError::Read)?;
    // Headers count as well, so that millions of names can't hide from the limit on bytes.
    let plain = plain.take(limits.bytes.saturating_add(limits.entries.saturating_mul(4096)));
    let mut archive = ArchiveReader::new(Hashing::new(plain, Hasher::sha256()));
    let mut tree = Tree::open(target, lowers)?;
    let (mut entries, mut bytes) = (0, 0);
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        if entries > limits.entries {
            return Err(UnpackError::Limit { what: "entries", limit: limits.entries });
        }
        bytes += entry.segments.iter().map(|s| s.length).sum::<u64>();
        if bytes > limits.bytes {
            return Err(UnpackError::Limit { what: "bytes", limit: limits.bytes });
        }
        tree.apply(&entry, &mut archive)?;
    }
    tree.finish()?;
    let (_, diff_id, _) = archive.finish(limits.bytes)?.finish();
    Ok(Unpacked { diff_id, entries, bytes })
}
