//! A folder as a tar archive that depends on nothing but the folder's content.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use crate::fs_error::{Context, FsError};

/// Writes everything under `root`, sorted by name, with times at 1970. Sockets are left out: none survives a copy.
pub(super) fn archive(root: &Path, owner: Option<(u32, u32)>, out: &mut impl Write) -> Result<(), FsError> {
    let mut writer = FolderWriter { builder: Builder::new(out), owner, links: HashMap::new() };
    // `WalkDir` takes a file for a tree of one; an image needs a folder.
    std::fs::read_dir(root).context("read", root)?;
    for entry in WalkDir::new(root).follow_root_links(true).sort_by_file_name() {
        let entry = entry.map_err(|e| {
            let path = e.path().unwrap_or(root).to_owned();
            FsError::new("read", &path, e.into())
        })?;
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(path);
        let name = if name.as_os_str().is_empty() { Path::new("./") } else { name };
        let metadata = if entry.depth() == 0 { path.metadata() } else { path.symlink_metadata() };
        let metadata = metadata.context("look at", path)?;
        writer.add(path, name, &metadata).context("archive", path)?;
    }
    writer.builder.finish().context("archive", root)
}

struct FolderWriter<W: Write> {
    builder: Builder<W>,
    owner: Option<(u32, u32)>,
    /// Where files with several names were first seen, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> FolderWriter<W> {
    fn add(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        let (uid, gid) = self.owner.unwrap_or((metadata.uid(), metadata.gid()));
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mode(metadata.mode() & 0o7777);
        header.set_mtime(0);
        header.set_size(0);
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            return self.builder.append_link(&mut header, name, path.read_link()?);
        }
        if kind.is_file() && metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&key) {
                header.set_entry_type(EntryType::Link);
                return self.builder.append_link(&mut header, name, first);
            }
            self.links.insert(key, name.to_owned());
        }
        self.attributes(path)?;
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            return self.builder.append_data(&mut header, name, io::empty());
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            let file = Exactly { file: File::open(path)?.take(metadata.len()), left: metadata.len() };
            return self.builder.append_data(&mut header, name, file);
        }
        header.set_entry_type(match () {
            () if kind.is_char_device() => EntryType::Char,
            () if kind.is_block_device() => EntryType::Block,
            () => EntryType::Fifo,
        });
        if !kind.is_fifo() {
            header.set_device_major(rustix::fs::major(metadata.rdev()))?;
            header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
        }
        self.builder.append_data(&mut header, name, io::empty())
    }

    /// Users' attributes and capabilities, as PAX records before the entry.
    fn attributes(&mut self, path: &Path) -> io::Result<()> {
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        for name in xattr::list(path)? {
            if !is_kept(&name) {
                continue;
            }
            if let (Some(text), Some(value)) = (name.to_str(), xattr::get(path, &name)?) {
                kept.push((format!("SCHILY.xattr.{text}"), value));
            }
        }
        kept.sort();
        if kept.is_empty() {
            return Ok(());
        }
        self.builder.append_pax_extensions(kept.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
    }
}

fn is_kept(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"user.") || name == "security.capability"
}

/// Fails if the file turns out shorter than its header says, which would shift all that follows.
struct Exactly {
    file: io::Take<File>,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.left -= n as u64;
        if n == 0 && self.left > 0 && !buf.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        Ok(n)
    }
}
