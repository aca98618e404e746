//! Archives written field by field, so that they can be as hostile as any.

use std::io::Write;

use tar::{EntryType, Header};

/// A tar archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Archive::default()
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name.as_bytes(), EntryType::Regular, b"", 0o644, data)
    }

    pub(crate) fn folder(self, name: &str, mode: u32) -> Self {
        self.entry(name.as_bytes(), EntryType::Directory, b"", mode, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), EntryType::Symlink, target.as_bytes(), 0o777, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), EntryType::Link, target.as_bytes(), 0o644, b"")
    }

    /// Any entry at all; names are not checked.
    pub(crate) fn entry(self, name: &[u8], kind: EntryType, link: &[u8], mode: u32, data: &[u8]) -> Self {
        let mut header = header(name, kind, data.len());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_mode(mode);
        self.raw(header, data)
    }

    /// A header as it is, with its checksum put right.
    pub(crate) fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let length = (1..).find(|n: &usize| n - n.to_string().len() == body.len()).unwrap();
            data.extend_from_slice(length.to_string().as_bytes());
            data.extend_from_slice(&body);
        }
        let header = header(b"pax", EntryType::XHeader, data.len());
        self.raw(header, &data)
    }

    pub(crate) fn tar(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    pub(crate) fn gzip(self) -> Vec<u8> {
        gzip(&self.tar())
    }
}

pub(crate) fn header(name: &[u8], kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
