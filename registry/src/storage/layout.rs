//! Where each thing lies in the store. The layout is described in the crate's documentation; a
//! component that this registry adds begins with `_`, which no repository name's component can.

use std::io;
use std::path::Path as FsPath;

use object_store::path::{Path, PathPart};

use super::UploadId;
use crate::digest::Digest;
use crate::name::{RepoName, Tag};

/// The folder of the object store, inside the data folder.
pub(super) const STORE_DIR: &str = "store";
/// The file that a running registry holds locked, inside the data folder.
pub(super) const LOCK_FILE: &str = "lock";
/// The folder of unfinished uploads.
pub(super) const UPLOADS: &str = "uploads";
/// An object that keeps the uploads' folder there.
pub(super) const KEEP_FILE: &str = "_keep";
const VERSION_FILE: &str = "_layout";
const VERSION: &str = "wharf-registry 1\n";

const BLOBS: &str = "blobs";
const REPOS: &str = "repos";

/// A blob's or manifest's bytes, shared by all repositories.
pub(super) fn content(digest: &Digest) -> Path {
    let hex = digest.hex();
    Path::from_iter([BLOBS, digest.algorithm().as_str(), &hex[..2], hex])
}

/// All bytes.
pub(super) fn all_content() -> Path {
    Path::from(BLOBS)
}

/// The digest of the content at `path`.
pub(super) fn content_digest(path: &Path) -> Option<Digest> {
    let mut parts = path.parts().skip(1);
    let algorithm = parts.next()?;
    let hex = parts.nth(1)?;
    format!("{}:{}", algorithm.as_ref(), hex.as_ref()).parse().ok()
}

/// The folder under which all repositories lie.
pub(super) fn repos() -> Path {
    Path::from(REPOS)
}

/// The folder of a repository.
pub(super) fn repo(repo: &RepoName) -> Path {
    Path::from_iter([REPOS].into_iter().chain(repo.as_str().split('/')))
}

/// The name of the repository whose folder this is.
pub(super) fn repo_name(folder: &Path) -> Option<RepoName> {
    folder.as_ref().strip_prefix(REPOS)?.strip_prefix('/')?.parse().ok()
}

/// Says whether a folder's name is one of this registry's own, and not part of a repository's name.
pub(super) fn is_own(part: &PathPart<'_>) -> bool {
    part.as_ref().starts_with('_')
}

/// The blobs that a repository has.
pub(super) fn blob_links(name: &RepoName) -> Path {
    repo(name).join("_blobs")
}

/// An empty object: the repository has this blob.
pub(super) fn blob_link(name: &RepoName, digest: &Digest) -> Path {
    keyed(blob_links(name), digest)
}

/// The manifests that a repository has.
pub(super) fn manifest_links(name: &RepoName) -> Path {
    repo(name).join("_manifests")
}

/// The media type of a manifest that the repository has.
pub(super) fn manifest_link(name: &RepoName, digest: &Digest) -> Path {
    keyed(manifest_links(name), digest)
}

/// The digest that a link is named after.
pub(super) fn link_digest(path: &Path) -> Option<Digest> {
    let mut parts = path.parts().rev();
    let hex = parts.next()?;
    let algorithm = parts.next()?;
    format!("{}:{}", algorithm.as_ref(), hex.as_ref()).parse().ok()
}

/// A repository's tags.
pub(super) fn tags(name: &RepoName) -> Path {
    repo(name).join("_tags")
}

/// The digest that a tag points to.
pub(super) fn tag(name: &RepoName, tag: &Tag) -> Path {
    tags(name).join(tag.as_str())
}

/// What refers to `subject`.
pub(super) fn referrers(name: &RepoName, subject: &Digest) -> Path {
    keyed(repo(name).join("_referrers"), subject)
}

/// The referrers-list entry of the manifest `referrer`.
pub(super) fn referrer(name: &RepoName, subject: &Digest, referrer: &Digest) -> Path {
    keyed(referrers(name, subject), referrer)
}

fn keyed(folder: Path, digest: &Digest) -> Path {
    folder.join(digest.algorithm().as_str()).join(digest.hex())
}

/// All unfinished uploads.
pub(super) fn uploads() -> Path {
    Path::from(UPLOADS)
}

/// One unfinished upload.
pub(super) fn upload(id: UploadId) -> Path {
    uploads().join(id.to_string())
}

/// The name of the repository that an upload goes to.
pub(super) fn upload_repo(id: UploadId) -> Path {
    upload(id).join("repo")
}

/// The chunks that an upload has.
pub(super) fn upload_parts(id: UploadId) -> Path {
    upload(id).join("parts")
}

/// The chunk of an upload that begins at `offset`; padded, so that names sort as numbers do.
pub(super) fn upload_part(id: UploadId, offset: u64) -> Path {
    upload_parts(id).join(format!("{offset:020}"))
}

/// A new object for bytes that are still coming in.
pub(super) fn upload_incoming(id: UploadId) -> Path {
    upload(id).join(format!("incoming-{}", uuid::Uuid::new_v4()))
}

/// Writes the layout's version into a new store, and refuses a store of another version.
pub(super) fn check_version(root: &FsPath) -> io::Result<()> {
    let path = root.join(VERSION_FILE);
    match std::fs::read_to_string(&path) {
        Ok(found) if found == VERSION => Ok(()),
        Ok(found) => Err(io::Error::other(format!(
            "it was written by another version ({:?}, this one writes {:?})",
            found.trim(),
            VERSION.trim()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::write(&path, VERSION),
        Err(error) => Err(error),
    }
}

/// Deletes what a killed process left half written below `folder`, and returns how many files that
/// were. `object_store` writes to `NAME#NUMBER`, never lists such names and refuses to delete them.
/// The caller holds the data folder's lock, so nobody is still writing to them.
pub(super) fn remove_staged(folder: &FsPath) -> io::Result<u64> {
    let mut removed = 0;
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let staged = name
            .rsplit_once('#')
            .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if staged && entry.file_type().is_file() {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
