//! The folder a layer goes into: every step is relative to a folder's descriptor that was opened within the root.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fchmod, fchown, fsetxattr, fstat, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, open,
    openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::archive::{ArchiveReader, Entry, Kind};
use crate::fs_error::{Context, FsError};
use crate::headroom::Headroom;
use crate::unpack::UnpackError;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs keeps for itself beside whiteouts.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const BUFFER: usize = 128 * 1024;
/// The most bytes that folders' names may take in memory until their times are set.
const MAX_NAMES: u64 = 128 << 20;

/// A layer being written.
pub(super) struct Tree<'a> {
    path: &'a Path,
    root: Rc<OwnedFd>,
    lowers: Vec<OwnedFd>,
    /// The folder the last entry was in: archives list folder by folder.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Folders' times, set at the end because every entry made within changes them.
    times: BTreeMap<Vec<u8>, Timespec>,
    /// Bytes of all names that went in there.
    names: u64,
    root_seen: bool,
    /// Whether nothing of the layers below is to be seen.
    root_opaque: bool,
    buffer: Vec<u8>,
    headroom: Headroom,
}

/// A name split into its folder and its last component.
struct Name {
    folder: Vec<u8>,
    base: Vec<u8>,
}

type Outcome<T> = Result<T, UnpackError>;

impl<'a> Tree<'a> {
    pub(super) fn open(path: &'a Path, lowers: &[PathBuf]) -> Outcome<Self> {
        let folder = |p: &Path| {
            open(p, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context("open", p)
        };
        Ok(Tree {
            path,
            root: Rc::new(folder(path)?),
            lowers: lowers.iter().map(|p| folder(p)).collect::<Result<_, _>>()?,
            last: None,
            times: BTreeMap::new(),
            names: 0,
            root_seen: false,
            root_opaque: false,
            buffer: vec![0; BUFFER],
            headroom: Headroom::default(),
        })
    }

    /// Makes what one entry says.
    pub(super) fn apply<R: Read>(&mut self, entry: &Entry, archive: &mut ArchiveReader<R>) -> Outcome<()> {
        let Some(name) = split(&entry.path).map_err(|reason| UnpackError::entry(&entry.path, reason))? else {
            if entry.kind == Kind::Directory {
                self.root_seen = true;
                return self.attributes_of_folder(&[], entry);
            }
            return Err(UnpackError::entry(&entry.path, "it would replace the root"));
        };
        if let Some(hidden) = name.base.strip_prefix(WHITEOUT) {
            return self.whiteout(entry, &name, hidden);
        }
        let parent = self.folder(&name.folder, &entry.path)?;
        let replaced_whiteout = self.make_room(entry, &parent, &name)?;
        match entry.kind {
            Kind::Directory => {
                let full = join(&name.folder, &name.base);
                match mkdirat(&*parent, &*name.base, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(self.refused(entry, e)),
                }
                self.attributes_of_folder(&full, entry)?;
                // The whiteout hid what is below; the folder in its place must go on hiding it.
                if replaced_whiteout { self.make_opaque(&full, entry) } else { Ok(()) }
            }
            Kind::File => self.file(entry, &parent, &name, archive),
            Kind::HardLink => self.hard_link(entry, &parent, &name),
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.contains(&0) {
                    return Err(UnpackError::entry(&entry.path, "a symbolic link without a target"));
                }
                symlinkat(&*entry.link, &*parent, &*name.base).map_err(|e| self.refused(entry, e))?;
                self.attributes_of_node(entry, &parent, &name)
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                let (kind, device) = match entry.kind {
                    Kind::CharDevice => (FileType::CharacterDevice, makedev(entry.device.0, entry.device.1)),
                    Kind::BlockDevice => (FileType::BlockDevice, makedev(entry.device.0, entry.device.1)),
                    _ => (FileType::Fifo, 0),
                };
                mknodat(&*parent, &*name.base, kind, Mode::from_raw_mode(0o600), device)
                    .map_err(|e| self.refused(entry, e))?;
                self.attributes_of_node(entry, &parent, &name)
            }
        }
    }

    /// Sets folders' times, and the root's attributes if the archive had none for it.
    pub(super) fn finish(mut self) -> Outcome<()> {
        if !self.root_seen {
            self.inherit(&[], None)?;
        }
        if self.root_opaque {
            self.hide_all_below().map_err(|e| errno(self.path, OPAQUE, e))?;
        }
        for (path, time) in std::mem::take(&mut self.times) {
            let times = Timestamps { last_access: time, last_modification: time };
            let set = self.open_folder(&path, OFlags::RDONLY).and_then(|f| futimens(&f, &times));
            match set {
                // Replaced by something else since, which has its own time.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(FsError::new("set times in", self.path, e.into()).into()),
            }
        }
        Ok(())
    }

    fn whiteout(&mut self, entry: &Entry, name: &Name, hidden: &[u8]) -> Outcome<()> {
        if name.base == OPAQUE {
            self.folder(&name.folder, &entry.path)?;
            if name.folder.is_empty() {
                self.root_opaque = true;
                return Ok(());
            }
            return if self.lowers.is_empty() { Ok(()) } else { self.make_opaque(&name.folder, entry) };
        }
        if name.base.starts_with(AUFS) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::entry(&entry.path, "a whiteout that names nothing"));
        }
        if self.lowers.is_empty() {
            return Ok(());
        }
        let parent = self.folder(&name.folder, &entry.path)?;
        match self.look(&parent, hidden) {
            // A whiteout is about the layers below; what this layer itself has put there stays.
            Ok(Some(stat)) if kind_of(&stat) == FileType::Directory => {
                self.make_opaque(&join(&name.folder, hidden), entry)
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => mknodat(&*parent, hidden, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))
                .map_err(|e| self.refused(entry, e)),
            Err(e) => Err(self.refused(entry, e)),
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &Name,
        archive: &mut ArchiveReader<R>,
    ) -> Outcome<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, &*name.base, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| self.refused(entry, e))?;
        let file = File::from(file);
        let mut end = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        let headroom = &mut self.headroom;
        let copied = archive.copy_data(&entry.segments, &mut buffer, |offset, bytes| {
            end = offset + bytes.len() as u64;
            headroom.before(&file, bytes.len())?;
            file.write_all_at(bytes, offset)
        });
        self.buffer = buffer;
        copied?.context("write in", self.path)?;
        if end < entry.size {
            ftruncate(&file, entry.size).map_err(|e| self.refused(entry, e))?;
        }
        // The owner first: changing it clears set-user-id bits and capabilities.
        let (uid, gid) = owner(entry);
        fchown(&file, uid, gid).map_err(|e| self.refused(entry, e))?;
        fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(|e| self.refused(entry, e))?;
        self.xattrs(entry, &file)?;
        futimens(&file, &times(entry)).map_err(|e| self.refused(entry, e))
    }

    fn hard_link(&mut self, entry: &Entry, parent: &OwnedFd, name: &Name) -> Outcome<()> {
        let reason = |reason: &str| UnpackError::entry(&entry.path, format!("hard link: {reason}"));
        let target = split(&entry.link).map_err(reason)?.ok_or_else(|| reason("it links to the root"))?;
        let missing = || reason("it links to a file that is not in the image");
        let linked = match self.open_folder(&target.folder, OFlags::PATH) {
            Ok(folder) => linkat(&folder, &*target.base, parent, &*name.base, AtFlags::empty()),
            Err(e) => Err(e),
        };
        match linked {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => {
                let lower =
                    self.lowers.iter().find_map(|l| open_lower_file(l, &join(&target.folder, &target.base)));
                let source = lower.ok_or_else(missing)?;
                self.copy_up(entry, &source, parent, name)
            }
            Err(Errno::PERM) => Err(reason("it links to a folder")),
            Err(e) => Err(self.refused(entry, e)),
        }
    }

    /// A link across layers becomes a copy, as overlayfs itself would make it.
    fn copy_up(&self, entry: &Entry, source: &File, parent: &OwnedFd, name: &Name) -> Outcome<()> {
        let refused = |e| self.refused(entry, e);
        let stat = fstat(source).map_err(refused)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut copy =
            File::from(openat(parent, &*name.base, flags, Mode::from_raw_mode(0o600)).map_err(refused)?);
        std::io::copy(&mut { source }, &mut copy).context("write in", self.path)?;
        fchown(&copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))).map_err(refused)?;
        fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(refused)?;
        let modified = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
        futimens(&copy, &Timestamps { last_access: modified, last_modification: modified }).map_err(refused)
    }

    /// Removes what stands in the entry's way, except a folder for a folder; whether that was a whiteout.
    fn make_room(&mut self, entry: &Entry, parent: &OwnedFd, name: &Name) -> Outcome<bool> {
        let Some(stat) = self.look(parent, &name.base).map_err(|e| self.refused(entry, e))? else {
            return Ok(false);
        };
        let is_folder = kind_of(&stat) == FileType::Directory;
        if is_folder && entry.kind == Kind::Directory {
            return Ok(false);
        }
        // It may be a folder, or a link to one, that the last entry's folder was found through.
        self.last = None;
        if is_folder {
            // The standard library removes trees without following links; the descriptor stands for the parent.
            let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string());
            let path = path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name.base));
            std::fs::remove_dir_all(path).context("remove a folder in", self.path)?;
            return Ok(false);
        }
        unlinkat(parent, &*name.base, AtFlags::empty()).map_err(|e| self.refused(entry, e))?;
        Ok(!self.lowers.is_empty() && kind_of(&stat) == FileType::CharacterDevice && stat.st_rdev == 0)
    }

    /// The folder at `path`, made with its parents if need be. Links are followed as if the root were `/`.
    fn folder(&mut self, path: &[u8], entry: &[u8]) -> Outcome<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(folder.clone());
        }
        // Up to the first that is there, then down again making what is missing.
        let mut there = path.len();
        let mut folder = loop {
            if there == 0 {
                break self.root.clone();
            }
            match self.open_folder(&path[..there], OFlags::PATH) {
                Ok(folder) => break Rc::new(folder),
                Err(Errno::NOENT) => there = path[..there].iter().rposition(|b| *b == b'/').unwrap_or(0),
                Err(e) => return Err(self.bad_parent(entry, e)),
            }
        };
        while there < path.len() {
            let start = if there == 0 { 0 } else { there + 1 };
            there = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |n| start + n);
            mkdirat(&*folder, &path[start..there], Mode::from_raw_mode(0o755))
                .map_err(|e| self.bad_parent(entry, e))?;
            self.inherit(&path[..there], Some(entry))?;
            let made = self.open_folder(&path[..there], OFlags::PATH);
            folder = Rc::new(made.map_err(|e| self.bad_parent(entry, e))?);
        }
        self.last = Some((path.to_vec(), folder.clone()));
        Ok(folder)
    }

    fn bad_parent(&self, entry: &[u8], e: Errno) -> UnpackError {
        match e {
            Errno::EXIST => UnpackError::entry(entry, "its parent is a symbolic link to nowhere"),
            Errno::NOTDIR => UnpackError::entry(entry, "its parent is not a folder"),
            Errno::LOOP => UnpackError::entry(entry, "its parent is a loop of symbolic links"),
            e => errno(self.path, entry, e),
        }
    }

    /// Gives a folder that no entry describes the attributes it has in the layers below.
    fn inherit(&mut self, path: &[u8], entry: Option<&[u8]>) -> Outcome<()> {
        let refused = |e| errno(self.path, entry.unwrap_or(b"./"), e);
        let folder = self.open_folder(path, OFlags::RDONLY).map_err(refused)?;
        let below = self.lowers.iter().find_map(|lower| open_within(lower, path, OFlags::PATH).ok());
        let stat = below.and_then(|b| fstat(&b).ok()).filter(|s| kind_of(s) == FileType::Directory);
        let Some(stat) = stat else {
            return fchmod(&folder, Mode::from_raw_mode(0o755)).map_err(refused);
        };
        fchown(&folder, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
            .map_err(refused)?;
        fchmod(&folder, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(refused)?;
        self.remember(path, Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ })
    }

    fn remember(&mut self, path: &[u8], time: Timespec) -> Outcome<()> {
        self.names += path.len() as u64;
        if self.names > MAX_NAMES {
            return Err(UnpackError::Limit { what: "bytes of folders' names", limit: MAX_NAMES });
        }
        self.times.insert(path.to_vec(), time);
        Ok(())
    }

    fn attributes_of_folder(&mut self, path: &[u8], entry: &Entry) -> Outcome<()> {
        let folder = self.open_folder(path, OFlags::RDONLY).map_err(|e| self.refused(entry, e))?;
        let (uid, gid) = owner(entry);
        fchown(&folder, uid, gid).map_err(|e| self.refused(entry, e))?;
        fchmod(&folder, Mode::from_raw_mode(entry.mode)).map_err(|e| self.refused(entry, e))?;
        self.xattrs(entry, &folder)?;
        self.remember(path, times(entry).last_modification)
    }

    /// Owner, mode and times of what must not be opened: links, devices, pipes.
    fn attributes_of_node(&self, entry: &Entry, parent: &OwnedFd, name: &Name) -> Outcome<()> {
        let refused = |e| self.refused(entry, e);
        let (uid, gid) = owner(entry);
        chownat(parent, &*name.base, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(refused)?;
        if entry.kind != Kind::Symlink {
            // It was made a moment ago and nobody else writes here, so this can't be a link.
            rustix::fs::chmodat(parent, &*name.base, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(refused)?;
        }
        utimensat(parent, &*name.base, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(refused)
    }

    fn xattrs(&self, entry: &Entry, fd: impl AsFd) -> Outcome<()> {
        for (name, value) in &entry.xattrs {
            if !is_kept(name) {
                continue;
            }
            match fsetxattr(fd.as_fd(), &**name, value, XattrFlags::empty()) {
                Ok(()) => {}
                // Not every file system has attributes for users; a program can't count on them.
                Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
                Err(e) => return Err(self.refused(entry, e)),
            }
        }
        Ok(())
    }

    fn make_opaque(&self, path: &[u8], entry: &Entry) -> Outcome<()> {
        self.open_folder(path, OFlags::RDONLY)
            .and_then(|folder| fsetxattr(&folder, OPAQUE_XATTR, b"y", XattrFlags::empty()))
            .map_err(|e| self.refused(entry, e))
    }

    /// Overlayfs never takes the root itself for opaque, so all that is in the roots below is hidden one by one.
    fn hide_all_below(&self) -> Result<(), Errno> {
        for lower in &self.lowers {
            for found in Dir::read_from(open_within(lower, b"", OFlags::RDONLY | OFlags::DIRECTORY)?)? {
                let found = found?;
                let name = found.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                match self.look(&self.root, name)? {
                    None => {
                        mknodat(&*self.root, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?;
                    }
                    Some(stat) if kind_of(&stat) == FileType::Directory => {
                        let folder = self.open_folder(name, OFlags::RDONLY)?;
                        fsetxattr(&folder, OPAQUE_XATTR, b"y", XattrFlags::empty())?;
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn look(&self, parent: &OwnedFd, base: &[u8]) -> Result<Option<Stat>, Errno> {
        match statat(parent, base, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn open_folder(&self, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
        open_within(&self.root, path, access | OFlags::DIRECTORY)
    }

    fn refused(&self, entry: &Entry, e: Errno) -> UnpackError {
        errno(self.path, &entry.path, e)
    }
}

/// Opens `path` as if `root` were `/`: no link and no `..` leads out of it.
fn open_within(root: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn open_lower_file(lower: &OwnedFd, path: &[u8]) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // Looked at before it is opened for reading: opening a device can have effects.
    let found = open_within(lower, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    if kind_of(&fstat(&found).ok()?) != FileType::RegularFile {
        return None;
    }
    open_within(lower, path, flags).ok().map(File::from)
}

/// A full disk is the file system's matter, anything else the entry's.
fn errno(root: &Path, entry: &[u8], e: Errno) -> UnpackError {
    match e {
        Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS => {
            FsError::new("unpack to", root, e.into()).into()
        }
        e => UnpackError::entry(entry, std::io::Error::from(e).to_string()),
    }
}

/// The components of a name, without empty ones and `.`; none for the root itself. A leading slash means the root.
fn split(path: &[u8]) -> Result<Option<Name>, &'static str> {
    if path.contains(&0) {
        return Err("its name has a NUL byte");
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its name has '..' in it and could leave the root"),
            part => parts.push(part),
        }
    }
    let Some(base) = parts.pop() else { return Ok(None) };
    Ok(Some(Name { folder: parts.join(&b'/'), base: base.to_vec() }))
}

/// Whether an entry may have this name.
pub(crate) fn check_name(path: &[u8]) -> Result<(), &'static str> {
    split(path).map(drop)
}

fn join(folder: &[u8], base: &[u8]) -> Vec<u8> {
    if folder.is_empty() { base.to_vec() } else { [folder, b"/", base].concat() }
}

/// Attributes that belong to files. The kernel's own for overlays must never come from an archive.
fn is_kept(name: &[u8]) -> bool {
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: entry.mtime_nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
