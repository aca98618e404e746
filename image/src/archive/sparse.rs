//! Sparse files: GNU's old headers, and the three formats GNU tar has put into PAX headers.

use std::io::Read;

use crate::archive::{ArchiveError, ArchiveReader, BLOCK, Segment};

/// The most pieces a sparse file may have.
const MAX_SEGMENTS: usize = 65_536;

/// `GNU.sparse.*` of a PAX header.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub major: Option<u64>,
    pub minor: Option<u64>,
    /// Formats 0.0 and 0.1 have the map in the header.
    pub map: Vec<Segment>,
}

impl PaxSparse {
    pub(super) fn is_sparse(&self) -> bool {
        self.major.is_some() || self.size.is_some() || !self.map.is_empty()
    }
}

impl<R: Read> ArchiveReader<R> {
    /// The map in a GNU header and the extension blocks behind it.
    pub(super) fn gnu_sparse_map(
        &mut self,
        header: &tar::GnuHeader,
    ) -> Result<(u64, Vec<Segment>), ArchiveError> {
        let mut segments = Vec::new();
        self.add_gnu(&header.sparse, &mut segments)?;
        let mut more = header.is_extended();
        while more {
            let mut extension = tar::GnuExtSparseHeader::new();
            if !self.read_block(extension.as_mut_bytes())? {
                return Err(ArchiveError::CutOff(self.near.clone()));
            }
            self.add_gnu(&extension.sparse, &mut segments)?;
            more = extension.is_extended();
        }
        let size = self.field(header.real_size(), "sparse size")?;
        self.check_map(size, segments)
    }

    fn add_gnu(
        &self,
        blocks: &[tar::GnuSparseHeader],
        segments: &mut Vec<Segment>,
    ) -> Result<(), ArchiveError> {
        for block in blocks.iter().filter(|b| !b.is_empty()) {
            let offset = self.field(block.offset(), "sparse map")?;
            let length = self.field(block.length(), "sparse map")?;
            segments.push(Segment { offset, length });
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(self.malformed("a sparse file has too many pieces"));
        }
        Ok(())
    }

    /// The map of a PAX header; format 1.0 has it in front of the data.
    pub(super) fn pax_sparse_map(&mut self, sparse: &PaxSparse) -> Result<(u64, Vec<Segment>), ArchiveError> {
        let size = sparse.size.ok_or_else(|| self.malformed("a sparse file without its size"))?;
        if sparse.map.len() > MAX_SEGMENTS {
            return Err(self.malformed("a sparse file has too many pieces"));
        }
        let segments = match (sparse.major, sparse.minor) {
            (Some(1), Some(0)) => self.map_before_data()?,
            (None | Some(0), _) => sparse.map.clone(),
            _ => return Err(self.malformed("an unknown sparse format")),
        };
        self.check_map(size, segments)
    }

    /// Decimal numbers, each on a line, padded to a block: how many pieces, then offset and length of each.
    fn map_before_data(&mut self) -> Result<Vec<Segment>, ArchiveError> {
        let mut lines = Lines { block: [0; BLOCK as usize], used: BLOCK as usize };
        let count = lines.next(self)?;
        if count > MAX_SEGMENTS as u64 {
            return Err(self.malformed("a sparse file has too many pieces"));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            let (offset, length) = (lines.next(self)?, lines.next(self)?);
            segments.push(Segment { offset, length });
        }
        Ok(segments)
    }

    /// In order, without overlap, within the file, and together exactly the data there is.
    fn check_map(&self, size: u64, segments: Vec<Segment>) -> Result<(u64, Vec<Segment>), ArchiveError> {
        let mut end = 0u64;
        let mut stored = 0u64;
        for segment in &segments {
            if segment.offset < end {
                return Err(self.malformed("the pieces of a sparse file overlap"));
            }
            end = segment
                .offset
                .checked_add(segment.length)
                .ok_or_else(|| self.malformed("a sparse file's map is out of range"))?;
            stored += segment.length;
        }
        if end > size || size > i64::MAX as u64 {
            return Err(self.malformed("a sparse file's map is out of range"));
        }
        if stored != self.data {
            return Err(self.malformed("a sparse file's map does not fit its data"));
        }
        Ok((size, segments))
    }
}

/// Reads numbers line by line out of whole blocks.
struct Lines {
    block: [u8; BLOCK as usize],
    used: usize,
}

impl Lines {
    fn next<R: Read>(&mut self, archive: &mut ArchiveReader<R>) -> Result<u64, ArchiveError> {
        let mut value: Option<u64> = None;
        loop {
            if self.used == self.block.len() {
                let left = archive
                    .data
                    .checked_sub(BLOCK)
                    .ok_or_else(|| archive.malformed("a sparse file's map is cut off"))?;
                if !archive.read_block(&mut self.block)? {
                    return Err(ArchiveError::CutOff(archive.near.clone()));
                }
                archive.data = left;
                self.used = 0;
            }
            let byte = self.block[self.used];
            self.used += 1;
            let bad = || archive.malformed("a sparse file's map has a bad number");
            value = match (byte, value) {
                (b'\n', Some(n)) => return Ok(n),
                (b'0'..=b'9', n) => Some(
                    n.unwrap_or(0)
                        .checked_mul(10)
                        .and_then(|n| n.checked_add(u64::from(byte - b'0')))
                        .ok_or_else(bad)?,
                ),
                _ => return Err(bad()),
            };
        }
    }
}
