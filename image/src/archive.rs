//! A streaming tar reader with bounds: ustar, GNU and PAX, long names, binary xattrs and sparse files.
//!
//! The `tar` crate decodes the header fields. Its own entry iterator is not used, because it reads name extensions
//! of any size into memory and splits PAX records at newlines, which file capabilities may contain.

mod pax;
mod sparse;

use std::io::{self, Read};

use thiserror::Error;

use crate::archive::pax::Pax;

const BLOCK: u64 = 512;
/// The most bytes one extension header (long name, PAX records) may have.
const MAX_EXTENSION: u64 = 1024 * 1024;
/// The most bytes a name may have: Linux's own bound.
const MAX_NAME: usize = 4096;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// A stretch of data within a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// One entry's header, put together from all its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Permission bits with set-user-id and its like.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub mtime_nanos: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file's size with its holes.
    pub size: u64,
    /// Where its data goes; what is between is holes.
    pub segments: Vec<Segment>,
}

/// What can be wrong with an archive.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    /// Reading or decompressing failed.
    #[error("{0}")]
    Read(io::Error),
    /// It ends in the middle.
    #[error("the archive is cut off{}", after(.0))]
    CutOff(String),
    /// A header that makes no sense.
    #[error("{what}{}", after(near))]
    Malformed { near: String, what: String },
}

fn after(near: &str) -> String {
    if near.is_empty() { String::new() } else { format!(" at or after entry {near}") }
}

/// Reads entries one after the other.
pub(crate) struct ArchiveReader<R> {
    inner: R,
    /// Bytes of the current entry's data that were not read yet.
    data: u64,
    /// Padding after them.
    padding: u64,
    /// The last entry's name, for messages.
    near: String,
    ended: bool,
}

/// A name for people: printable, and not too long.
pub(crate) fn show(name: &[u8]) -> String {
    name.iter().take(200).flat_map(|b| std::ascii::escape_default(*b)).map(char::from).collect()
}

impl<R: Read> ArchiveReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        ArchiveReader { inner, data: 0, padding: 0, near: String::new(), ended: false }
    }

    /// The next entry; what was not read of the last one's data is passed over.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut pax = Pax::default();
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        while !self.ended {
            self.skip(self.data + self.padding)?;
            (self.data, self.padding) = (0, 0);
            let mut header = tar::Header::new_old();
            if !self.read_block(header.as_mut_bytes())? || header.as_bytes().iter().all(|b| *b == 0) {
                self.ended = true;
                break;
            }
            if !checksum_ok(&header) {
                return Err(self.malformed("a header's checksum is wrong, this is no tar archive"));
            }
            let size = self.field(header.entry_size(), "size")?;
            match header.entry_type().as_byte() {
                b'x' => pax = Pax::parse(&self.extension(size)?).map_err(|what| self.malformed(what))?,
                // Defaults for all that follows: nothing we use is ever in there.
                b'g' => drop(self.extension(size)?),
                b'L' => long_name = Some(until_nul(self.extension(size)?)),
                b'K' => long_link = Some(until_nul(self.extension(size)?)),
                _ => return self.entry(&header, size, pax, long_name, long_link).map(Some),
            }
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        size: u64,
        mut pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, ArchiveError> {
        let path = pax
            .sparse
            .name
            .take()
            .or(pax.path.take())
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        self.near = show(&path);
        let link = pax.link.take().or(long_link).unwrap_or_else(|| {
            header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
        });
        if path.len() > MAX_NAME || link.len() > MAX_NAME {
            return Err(self.malformed("a name is longer than 4096 bytes"));
        }
        let kind = match header.entry_type().as_byte() {
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                return Err(
                    self.malformed(format!("entries of type {:?} are not supported", char::from(other)))
                );
            }
        };
        // Only files have data; some writers put a size on other entries as well.
        let stored = if kind == Kind::File { pax.size.unwrap_or(size) } else { 0 };
        if stored > i64::MAX as u64 {
            return Err(self.malformed("a file's size is out of range"));
        }
        self.data = stored;
        self.padding = stored.next_multiple_of(BLOCK) - stored;
        let (size, segments) = if header.entry_type().as_byte() == b'S' {
            let gnu = header.as_gnu().ok_or_else(|| self.malformed("a sparse file without a GNU header"))?;
            self.gnu_sparse_map(gnu)?
        } else if kind == Kind::File && pax.sparse.is_sparse() {
            self.pax_sparse_map(&pax.sparse)?
        } else {
            (stored, vec![Segment { offset: 0, length: stored }])
        };
        let uid = self.id(pax.uid.map_or_else(|| header.uid(), Ok), "uid")?;
        let gid = self.id(pax.gid.map_or_else(|| header.gid(), Ok), "gid")?;
        let (mtime, mtime_nanos) = pax
            .mtime
            .unwrap_or_else(|| (header.mtime().ok().and_then(|t| t.try_into().ok()).unwrap_or(0), 0));
        let device = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            (
                self.field(header.device_major(), "device number")?.unwrap_or(0),
                self.field(header.device_minor(), "device number")?.unwrap_or(0),
            )
        } else {
            (0, 0)
        };
        let mode = self.field(header.mode(), "mode")? & 0o7777;
        let xattrs = pax.xattrs;
        Ok(Entry { path, link, kind, mode, uid, gid, mtime, mtime_nanos, device, xattrs, size, segments })
    }

    /// Hands the current entry's data, piece by piece, to `sink` with the offset each belongs at.
    pub(crate) fn copy_data<E>(
        &mut self,
        segments: &[Segment],
        buffer: &mut [u8],
        mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, ArchiveError> {
        for segment in segments {
            let mut offset = segment.offset;
            let mut left = segment.length;
            while left > 0 {
                let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let n = self.inner.read(&mut buffer[..want]).map_err(ArchiveError::Read)?;
                if n == 0 {
                    return Err(ArchiveError::CutOff(self.near.clone()));
                }
                self.data -= n as u64;
                left -= n as u64;
                if let Err(e) = sink(offset, &buffer[..n]) {
                    return Ok(Err(e));
                }
                offset += n as u64;
            }
        }
        Ok(Ok(()))
    }

    /// Reads up to `limit` more bytes that may stand behind the archive's end and gives the reader back.
    pub(crate) fn finish(mut self, limit: u64) -> Result<R, ArchiveError> {
        let mut rest = (&mut self.inner).take(limit.saturating_add(1));
        let trailing = io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Read)?;
        if trailing > limit {
            return Err(self.malformed("too much data behind the end of the archive"));
        }
        Ok(self.inner)
    }

    fn skip(&mut self, count: u64) -> Result<(), ArchiveError> {
        let skipped =
            io::copy(&mut (&mut self.inner).take(count), &mut io::sink()).map_err(ArchiveError::Read)?;
        if skipped < count { Err(ArchiveError::CutOff(self.near.clone())) } else { Ok(()) }
    }

    /// Fills one block; false at the end of the input.
    fn read_block(&mut self, block: &mut [u8]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < block.len() {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ArchiveError::CutOff(self.near.clone())),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ArchiveError::Read(e)),
            }
        }
        Ok(true)
    }

    /// The data of an extension header, with its padding taken off the input.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_EXTENSION {
            return Err(self.malformed(format!("a header extension has {size} bytes, over {MAX_EXTENSION}")));
        }
        let mut bytes = Vec::new();
        (&mut self.inner).take(size).read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        if (bytes.len() as u64) < size {
            return Err(ArchiveError::CutOff(self.near.clone()));
        }
        self.skip(size.next_multiple_of(BLOCK) - size)?;
        Ok(bytes)
    }

    fn malformed(&self, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Malformed { near: self.near.clone(), what: what.into() }
    }

    fn field<T>(&self, value: io::Result<T>, name: &str) -> Result<T, ArchiveError> {
        value.map_err(|_| self.malformed(format!("an entry's {name} is not a number")))
    }

    /// A user or group id; the highest number means "none" to the kernel.
    fn id(&self, value: io::Result<u64>, name: &str) -> Result<u32, ArchiveError> {
        match u32::try_from(self.field(value, name)?) {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(self.malformed(format!("an entry's {name} is out of range"))),
        }
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Historic writers summed signed bytes: both sums count.
fn checksum_ok(header: &tar::Header) -> bool {
    let bytes = header.as_bytes();
    let counted = || bytes[..148].iter().chain(&bytes[156..]);
    let unsigned: u32 = counted().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
    let signed: i32 = counted().map(|b| i32::from(*b as i8)).sum::<i32>() + 8 * 32;
    header.cksum().is_ok_and(|sum| sum == unsigned || i64::from(sum) == i64::from(signed))
}
