//! Finds out who `name|uid[:group|gid]` is inside a root filesystem, without ever leaving it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use super::error::SpecError;

/// Longest `passwd` or `group` that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A user as the container's own files tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Groups that list the user; empty if a group was asked for.
    pub additional_gids: Vec<u32>,
    /// Home directory, if the user is listed.
    pub home: Option<String>,
}

/// Looks `text` (`name|uid[:group|gid]`, or empty for root) up in the root filesystem's `/etc/passwd` and
/// `/etc/group`. Numbers need not be listed there.
///
/// # Errors
/// If a name is not listed, or a number is out of range.
pub fn resolve_user(rootfs: &Path, text: &str) -> Result<ResolvedUser, SpecError> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let entry = find_user(&lines(rootfs, "etc/passwd")?, name);
    let mut user = match (entry, name.parse::<u32>()) {
        (Some(entry), _) => entry,
        (None, Ok(uid)) => Found { name: None, uid, gid: 0, home: None },
        (None, Err(_)) => {
            return Err(SpecError::field("user", format!("no user {name:?} in the image's /etc/passwd")));
        }
    };
    // Docker accepts no negative id; the largest one means "no change" to the kernel.
    if user.uid == u32::MAX {
        return Err(SpecError::field("user", format!("user id {} is out of range", user.uid)));
    }
    let groups = lines(rootfs, "etc/group")?;
    let mut additional_gids = Vec::new();
    match group.filter(|g| !g.is_empty()) {
        Some(group) => user.gid = find_group(&groups, group)?,
        None => {
            if let Some(name) = &user.name {
                additional_gids = memberships(&groups, name, user.gid);
            }
        }
    }
    Ok(ResolvedUser { uid: user.uid, gid: user.gid, additional_gids, home: user.home })
}

struct Found {
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: Option<String>,
}

/// `name:password:uid:gid:comment:home:shell`. A name wins over a number that is spelled the same.
fn find_user(lines: &[String], wanted: &str) -> Option<Found> {
    let parse = |line: &String| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        let home = fields.nth(1).filter(|h| !h.is_empty()).map(str::to_owned);
        Some(Found { name: Some(name), uid, gid, home })
    };
    let by_name = lines.iter().filter_map(parse).find(|u| u.name.as_deref() == Some(wanted));
    let number = wanted.parse::<u32>().ok();
    by_name.or_else(|| lines.iter().filter_map(parse).find(|u| Some(u.uid) == number))
}

/// `name:password:gid:members`.
fn group_fields(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some((name, gid, fields.next().unwrap_or("")))
}

fn find_group(lines: &[String], wanted: &str) -> Result<u32, SpecError> {
    let by_name = lines.iter().filter_map(|l| group_fields(l)).find(|(name, ..)| *name == wanted);
    match (by_name, wanted.parse::<u32>()) {
        (Some((_, gid, _)), _) => Ok(gid),
        (None, Ok(gid)) if gid != u32::MAX => Ok(gid),
        _ => Err(SpecError::field("user", format!("no group {wanted:?} in the image's /etc/group"))),
    }
}

fn memberships(lines: &[String], user: &str, primary: u32) -> Vec<u32> {
    let listed = |(_, gid, members): (&str, u32, &str)| {
        (gid != primary && members.split(',').any(|m| m.trim() == user)).then_some(gid)
    };
    lines.iter().filter_map(|l| group_fields(l)).filter_map(listed).collect()
}

fn lines(rootfs: &Path, path: &str) -> Result<Vec<String>, SpecError> {
    let Some(file) = open_in_root(rootfs, path)? else { return Ok(Vec::new()) };
    let reader = BufReader::new(file.take(MAX_FILE));
    // Lines that are not text can't name anyone.
    Ok(reader.split(b'\n').map_while(Result::ok).filter_map(|l| String::from_utf8(l).ok()).collect())
}

/// Opens a regular file below `rootfs`, resolving symlinks as if it were `/`. `None` if there is no such file.
fn open_in_root(rootfs: &Path, path: &str) -> Result<Option<File>, SpecError> {
    let failed = |reason: String| SpecError::File { path: rootfs.join(path).display().to_string(), reason };
    let root = File::open(rootfs)
        .map_err(|e| SpecError::File { path: rootfs.display().to_string(), reason: e.to_string() })?;
    // Without blocking, so that a FIFO in the image can't hold us.
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd: OwnedFd = match openat2(&root, path, how) {
        Ok(fd) => fd,
        Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let file = File::from(fd);
    let kind = file.metadata().map_err(|e| failed(e.to_string()))?;
    if kind.is_file() { Ok(Some(file)) } else { Err(failed("is not a regular file".into())) }
}

/// Makes the directory `path` below `rootfs` with all its parents, resolving symlinks as if `rootfs` were `/`.
///
/// # Errors
/// If something on the way is not a directory, or can't be made.
pub(crate) fn make_dir_in_root(rootfs: &Path, path: &Path) -> Result<(), SpecError> {
    let failed = |reason: String| SpecError::File { path: path.display().to_string(), reason };
    let root = File::open(rootfs).map_err(|e| failed(e.to_string()))?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut so_far = std::path::PathBuf::from(".");
    let mut parent = openat2(&root, &so_far, how).map_err(|e| failed(e.to_string()))?;
    for component in path.components() {
        let std::path::Component::Normal(name) = component else { continue };
        so_far.push(name);
        parent = match openat2(&root, &so_far, how) {
            Ok(fd) => fd,
            Err(nix::Error::ENOENT) => {
                nix::sys::stat::mkdirat(&parent, name, Mode::from_bits_truncate(0o755))
                    .map_err(|e| failed(e.to_string()))?;
                openat2(&root, &so_far, how).map_err(|e| failed(e.to_string()))?
            }
            Err(error) => return Err(failed(error.to_string())),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn rootfs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:Web:/srv:/bin/false\n7:x:300:300::/:\nbroken\n",
        )
        .unwrap();
        let group = "root:x:0:\nweb:x:102:\nlogs:x:200:web,other\nwww:x:33:web\n";
        fs::write(dir.path().join("etc/group"), group).unwrap();
        dir
    }

    #[test]
    fn names_bring_their_groups_and_home() {
        let root = rootfs();
        let user = resolve_user(root.path(), "web").unwrap();
        let expected =
            ResolvedUser { uid: 101, gid: 102, additional_gids: vec![200, 33], home: Some("/srv".into()) };
        assert_eq!(user, expected);
        assert_eq!(resolve_user(root.path(), "").unwrap().home.as_deref(), Some("/root"));
    }

    #[test]
    fn numbers_need_not_be_listed() {
        let root = rootfs();
        let user = resolve_user(root.path(), "5000:6000").unwrap();
        assert_eq!((user.uid, user.gid), (5000, 6000));
        assert_eq!(resolve_user(root.path(), "101").unwrap().gid, 102, "a listed uid brings its group");
        assert_eq!(resolve_user(root.path(), "web:logs").unwrap().gid, 200);
        assert_eq!(resolve_user(root.path(), "7").unwrap().uid, 300, "a name wins over a number");
    }

    #[test]
    fn the_unknown_is_named() {
        let root = rootfs();
        assert!(resolve_user(root.path(), "nobody").unwrap_err().to_string().contains("nobody"));
        assert!(resolve_user(root.path(), "web:nogroup").unwrap_err().to_string().contains("nogroup"));
        assert!(resolve_user(root.path(), "-1").is_err());
        assert!(resolve_user(root.path(), "4294967295").is_err());
    }

    #[test]
    fn an_image_without_passwd_works_with_numbers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(resolve_user(dir.path(), "12").unwrap().gid, 0);
        assert!(resolve_user(dir.path(), "web").is_err());
    }

    #[test]
    fn symlinks_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("/etc/passwd", dir.path().join("etc/group")).unwrap();
        symlink("../../../../../../../../etc/passwd", dir.path().join("etc/passwd")).unwrap();
        // Both lead to the rootfs's own etc/passwd, which is a loop: never to the host's.
        assert!(resolve_user(dir.path(), "root").is_err());
    }

    #[test]
    fn directories_are_made_inside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("/real", dir.path().join("link")).unwrap();
        make_dir_in_root(dir.path(), Path::new("/link/a/b")).unwrap();
        assert!(dir.path().join("real/a/b").is_dir());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_dir_in_root(dir.path(), Path::new("/file/x")).is_err());
    }
}
