//! Layers that try to get out of their root, or are no archives at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::*;
use tar::EntryType;
use wharf_image::unpack::{UnpackError, UnpackLimits, unpack_layer};
use wharf_image::{PullError, PullOptions};

use crate::support::{Archive, Folder, Publish, Registry, amd64, images};

/// A root to unpack into, with things beside it that must not be touched.
struct Target {
    folder: Folder,
    before: Vec<String>,
}

impl Target {
    fn new() -> Self {
        let folder = Folder::new();
        for name in ["root", "low", "outside"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        fs::write(folder.join("secret"), b"secret").unwrap();
        fs::write(folder.join("outside/file"), b"file").unwrap();
        fs::write(folder.join("low/base"), b"base").unwrap();
        let before = state(&folder);
        Target { folder, before }
    }

    fn unpack(&self, tar: &[u8]) -> Result<(), UnpackError> {
        let result =
            unpack_layer(tar, &self.folder.join("root"), &[self.folder.join("low")], UnpackLimits::default());
        assert_eq!(state(&self.folder), self.before, "something outside the root has changed");
        result.map(drop)
    }

    fn root(&self, name: &str) -> std::path::PathBuf {
        self.folder.join("root").join(name)
    }
}

/// Everything beside the root, with what an attacker could change of it.
fn state(folder: &Folder) -> Vec<String> {
    let root = folder.join("root");
    let entries = walkdir::WalkDir::new(folder.path()).sort_by_file_name();
    entries
        .into_iter()
        .filter_entry(|e| e.path() != root)
        .map(|e| {
            let e = e.unwrap();
            let m = e.metadata().unwrap();
            let content = if m.is_file() { fs::read(e.path()).unwrap() } else { Vec::new() };
            let own = (m.mode(), m.uid(), m.gid(), m.nlink(), m.ino());
            let time = if e.depth() == 0 { 0 } else { m.mtime_nsec() };
            format!("{} {own:?} {time} {content:?}", e.path().display())
        })
        .collect()
}

fn entry_error(result: Result<(), UnpackError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, UnpackError::BadEntry { .. }), "{error}");
    error.to_string()
}

#[test]
fn dots_are_refused_and_absolute_names_are_the_roots_own() {
    let target = Target::new();
    for name in ["../secret", "a/../../secret", "..", "a/.."] {
        let text = entry_error(target.unpack(&Archive::new().file(name, b"pwned").tar()));
        assert!(text.contains(name) && text.contains("could leave the root"), "{text}");
    }
    let absolute = target.folder.join("secret");
    let absolute = absolute.to_str().unwrap();
    target.unpack(&Archive::new().file(absolute, b"mine").tar()).unwrap();
    assert_eq!(fs::read(target.root(&absolute[1..])).unwrap(), b"mine");
}

#[test]
fn symlinks_lead_nowhere_outside() {
    let target = Target::new();
    let outside = target.folder.join("outside");
    let outside = outside.to_str().unwrap();
    for to in ["..", "../outside", "../../../../../../../../..", "/", outside] {
        let tar = Archive::new().symlink("way", to).file("way/file", b"pwned").tar();
        // What the link names is looked for inside the root, or the entry is refused.
        let _ = target.unpack(&tar);
        let tar = Archive::new().symlink("way", to).folder("way/", 0o777).file("way/file", b"x").tar();
        target.unpack(&tar).unwrap();
        fs::remove_dir_all(target.root("way")).unwrap();
    }
    target.unpack(&Archive::new().symlink("f", "../secret").file("f", b"mine").tar()).unwrap();
    assert_eq!(fs::read(target.root("f")).unwrap(), b"mine");
    let text = entry_error(target.unpack(&Archive::new().symlink("l", "l").file("l/x", b"").tar()));
    assert!(text.contains("loop"), "{text}");
}

#[test]
fn hard_links_stay_inside() {
    let target = Target::new();
    let secret = target.folder.join("secret");
    for to in ["../secret", secret.to_str().unwrap(), "nothing", "/", ""] {
        entry_error(target.unpack(&Archive::new().hard_link("h", to).tar()));
    }
    let through = Archive::new().symlink("way", "..").hard_link("h", "way/secret").tar();
    entry_error(target.unpack(&through));
    // A link to a symbolic link is one to the link itself, never to what it names.
    let tar = Archive::new().symlink("s", secret.to_str().unwrap()).hard_link("h", "s").tar();
    target.unpack(&tar).unwrap();
    assert!(target.root("h").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn whiteouts_stay_inside() {
    let target = Target::new();
    for name in [".wh...", ".wh..", ".wh.", "a/.wh.."] {
        entry_error(target.unpack(&Archive::new().file(name, b"").tar()));
    }
    let tar = Archive::new().symlink("way", "../outside").file("way/.wh.file", b"");
    let _ = target.unpack(&tar.file("way/.wh..wh..opq", b"").tar());
}

#[test]
fn odd_entries_are_refused() {
    let target = Target::new();
    let refused = |tar: &[u8]| target.unpack(tar).unwrap_err().to_string();
    let with = |kind, link: &[u8]| Archive::new().entry(b"x", kind, link, 0o644, b"").tar();
    assert!(refused(&with(EntryType::Symlink, b"")).contains("without a target"));
    assert!(refused(&with(EntryType::new(b'V'), b"")).contains("not supported"));
    assert!(refused(&Archive::new().file(".", b"x").tar()).contains("replace the root"));
    assert!(refused(&Archive::new().file("f", b"x").file("f/below", b"x").tar()).contains("not a folder"));
    let full = Archive::new().file("cut", &[1; 5000]).tar();
    assert!(refused(&full[..3000]).contains("cut off at or after entry cut"));
    assert!(refused(&[b'x'; 2048]).contains("checksum"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_names_the_bad_entry_and_leaves_nothing() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let published = Publish::new()
        .layer(Archive::new().file("ok", b"1"))
        .layer(Archive::new().file("../../etc/cron.d/x", b"pwned"))
        .publish(&registry, "evil", "latest");
    let error = images.pull(&registry.name("evil"), &amd64(), &PullOptions::default()).await.unwrap_err();
    assert!(matches!(error, PullError::Unpack { layer, .. } if layer == published.layers[1]));
    assert!(error.to_string().contains("entry ../../etc/cron.d/x:"), "{error}");
    assert!(images.list().is_empty());
    assert!(folder.files("snapshots/staging").is_empty());
}

fn nasty_path() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        4 => prop_oneof![Just("a"), Just("b"), Just("c")],
        1 => prop_oneof![Just(".."), Just("."), Just(""), Just("outside"), Just("secret"), Just("base")],
        1 => prop_oneof![Just(".wh.a"), Just(".wh.b"), Just(".wh..wh..opq"), Just(".wh.base"), Just(".wh...")],
    ];
    prop::collection::vec(component, 1..4).prop_map(|c| c.join("/"))
}

fn nasty_target() -> impl Strategy<Value = String> {
    prop_oneof![
        nasty_path(),
        Just("..".to_owned()),
        Just("../outside".to_owned()),
        Just("../secret".to_owned()),
        Just("../../../../../../..".to_owned()),
        Just("/".to_owned()),
        Just("/proc/self/root".to_owned()),
        Just("/proc/self/cwd".to_owned()),
        Just("a/b/../../..".to_owned()),
    ]
}

fn kind() -> impl Strategy<Value = EntryType> {
    prop_oneof![
        Just(EntryType::Regular),
        Just(EntryType::Directory),
        Just(EntryType::Symlink),
        Just(EntryType::Symlink),
        Just(EntryType::Link),
        Just(EntryType::Char),
        Just(EntryType::Fifo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_sequence_of_entries_gets_out(
        entries in prop::collection::vec((nasty_path(), kind(), nasty_target(), 0u32..0o10000), 1..12)
    ) {
        let target = Target::new();
        // One by one as well as together: a refused entry ends an archive.
        let mut all = Archive::new();
        for (name, kind, link, mode) in &entries {
            let data: &[u8] = if *kind == EntryType::Regular { b"pwned" } else { b"" };
            all = all.entry(name.as_bytes(), *kind, link.as_bytes(), *mode, data);
            let one = Archive::new().entry(name.as_bytes(), *kind, link.as_bytes(), *mode, data);
            let _ = target.unpack(&one.tar());
        }
        let _ = target.unpack(&all.tar());
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let target = Target::new();
        let _ = target.unpack(&bytes);
    }

    #[test]
    fn any_damage_is_unpacked_or_refused(at in prop::collection::vec((0usize..6000, any::<u8>()), 1..8), cut in 0usize..6000) {
        let target = Target::new();
        let mut tar = Archive::new()
            .folder("a/", 0o755)
            .pax(&[("path", b"a/long"), ("SCHILY.xattr.user.x", b"y"), ("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"9")])
            .file("a/f", b"data")
            .symlink("s", "..")
            .file("s/f", b"data")
            .tar();
        for (position, byte) in at {
            let length = tar.len();
            tar[position % length] = byte;
            // Put the checksum of that header right again, so that the damage gets further.
            let start = position % length / 512 * 512;
            let mut header = tar::Header::from_byte_slice(&tar[start..start + 512]).clone();
            header.set_cksum();
            tar[start..start + 512].copy_from_slice(header.as_bytes());
        }
        let _ = target.unpack(&tar[..cut.min(tar.len())]);
        let _ = target.unpack(&tar);
    }
}

#[test]
fn deep_folders_do_not_exhaust_the_stack() {
    let target = Target::new();
    let deep = "d/".repeat(2000) + "f";
    let tar = Archive::new().pax(&[("path", deep.as_bytes())]).file("x", b"deep").tar();
    target.unpack(&tar).unwrap();
    assert!(Path::new(&target.root(&"d/".repeat(1000))).is_dir());
}
