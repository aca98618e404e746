//! What a well-made layer's archive becomes on disk.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};
use wharf_image::Digest;
use wharf_image::unpack::{UnpackError, UnpackLimits, Unpacked, unpack_layer};

use crate::support::archive::header;
use crate::support::{Archive, Folder};

fn unpack(bytes: &[u8], target: &Path, lowers: &[PathBuf]) -> Result<Unpacked, UnpackError> {
    fs::create_dir_all(target).unwrap();
    unpack_layer(bytes, target, lowers, UnpackLimits::default())
}

#[test]
fn keeps_all_attributes() {
    let folder = Folder::new();
    let root = folder.join("root");
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\n\0\0\0";
    let mut owned = header(b"suid", EntryType::Regular, 3);
    owned.set_mode(0o4755);
    owned.set_uid(1234);
    owned.set_gid(567);
    let device = |name: &[u8], kind, major, minor| {
        let mut device = header(name, kind, 0);
        device.set_device_major(major).unwrap();
        device.set_device_minor(minor).unwrap();
        device
    };
    let tar = Archive::new()
        .folder("./", 0o711)
        .folder("dir/", 0o1777)
        .file("dir/file", b"data")
        .hard_link("dir/other-name", "dir/file")
        .symlink("dir/link", "/absolute/../target")
        .raw(owned, b"suid"[..3].as_ref())
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"with\nnewline"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/elsewhere"),
            ("mtime", b"123.5"),
        ])
        .file("capable", b"x")
        .raw(device(b"null", EntryType::Char, 1, 3), b"")
        .raw(device(b"disk", EntryType::Block, 7, 9), b"")
        .entry(b"pipe", EntryType::Fifo, b"", 0o622, b"")
        .tar();
    let unpacked = unpack(&tar, &root, &[]).unwrap();
    assert_eq!((unpacked.diff_id, unpacked.entries, unpacked.bytes), (Digest::of(&tar), 10, 8));

    let stat = |name: &str| root.join(name).symlink_metadata().unwrap();
    assert_eq!(stat("").mode() & 0o7777, 0o711);
    assert_eq!(stat("dir").mode() & 0o7777, 0o1777);
    assert_eq!(stat("dir").mtime(), 1_000_000_000);
    assert_eq!(stat("dir/file").ino(), stat("dir/other-name").ino());
    assert_eq!(fs::read_link(root.join("dir/link")).unwrap(), Path::new("/absolute/../target"));
    assert_eq!(stat("dir/link").mtime(), 1_000_000_000);
    let suid = stat("suid");
    assert_eq!((suid.mode() & 0o7777, suid.uid(), suid.gid()), (0o4755, 1234, 567));
    assert_eq!((stat("capable").mtime(), stat("capable").mtime_nsec()), (123, 500_000_000));
    let get = |name: &str| xattr::get(root.join("capable"), name).unwrap();
    assert_eq!(get("security.capability").unwrap(), capability);
    assert_eq!(get("user.note").unwrap(), b"with\nnewline");
    assert_eq!(get("trusted.overlay.redirect"), None);
    assert!(stat("null").file_type().is_char_device());
    assert_eq!(stat("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(stat("disk").file_type().is_block_device());
    assert!(stat("pipe").file_type().is_fifo());
    assert_eq!(stat("pipe").mode() & 0o7777, 0o622);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let folder = Folder::new();
    let root = folder.join("root");
    let tar = Archive::new()
        .file("a", b"old")
        .file("a", b"new")
        .folder("b/", 0o755)
        .file("b/inner", b"x")
        .file("b", b"now a file")
        .symlink("c", "a")
        .folder("c/", 0o700)
        .file("c/inner", b"y")
        .tar();
    unpack(&tar, &root, &[]).unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"new");
    assert_eq!(fs::read(root.join("b")).unwrap(), b"now a file");
    assert_eq!(fs::read(root.join("c/inner")).unwrap(), b"y");
    assert!(root.join("c").symlink_metadata().unwrap().is_dir());
}

#[test]
fn whiteouts_become_overlays_own() {
    let folder = Folder::new();
    let (low, root) = (folder.join("low"), folder.join("root"));
    unpack(&Archive::new().folder("d/", 0o750).file("d/f", b"x").tar(), &low, &[]).unwrap();
    let tar = Archive::new()
        .file(".wh.gone", b"")
        .file("d/.wh..wh..opq", b"")
        .file(".wh..wh.plnk", b"")
        .file("stays", b"here")
        .file(".wh.stays", b"")
        .file(".wh.dir", b"")
        .folder("dir/", 0o755)
        .tar();
    unpack(&tar, &root, &[low]).unwrap();
    let gone = root.join("gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |name: &str| xattr::get(root.join(name), "trusted.overlay.opaque").unwrap();
    assert_eq!(opaque("d").as_deref(), Some(&b"y"[..]));
    assert_eq!(root.join("d").metadata().unwrap().mode() & 0o7777, 0o750, "as the layer below has it");
    assert_eq!(fs::read(root.join("stays")).unwrap(), b"here");
    assert_eq!(
        opaque("dir").as_deref(),
        Some(&b"y"[..]),
        "a folder in place of a whiteout hides what is below"
    );
    assert!(!root.join(".wh..wh.plnk").exists());
}

#[test]
fn an_opaque_root_hides_all_that_is_below() {
    let folder = Folder::new();
    let (low, root) = (folder.join("low"), folder.join("root"));
    unpack(&Archive::new().file("a", b"1").file("b/c", b"2").file("d", b"3").tar(), &low, &[]).unwrap();
    unpack(&Archive::new().file(".wh..wh..opq", b"").file("a", b"new").file("b/e", b"").tar(), &root, &[low])
        .unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"new");
    assert_eq!(xattr::get(root.join("b"), "trusted.overlay.opaque").unwrap().as_deref(), Some(&b"y"[..]));
    assert!(root.join("d").symlink_metadata().unwrap().file_type().is_char_device());
}

#[test]
fn whiteouts_in_the_lowest_layer_leave_nothing() {
    let folder = Folder::new();
    let root = folder.join("root");
    unpack(&Archive::new().file("d/.wh.x", b"").file("d/.wh..wh..opq", b"").tar(), &root, &[]).unwrap();
    assert!(!root.join("d/x").exists());
}

#[test]
fn links_to_files_of_lower_layers_become_copies() {
    let folder = Folder::new();
    let (low, root) = (folder.join("low"), folder.join("root"));
    let mut owned = header(b"bin/tool", EntryType::Regular, 4);
    owned.set_mode(0o4711);
    owned.set_uid(42);
    unpack(&Archive::new().raw(owned, b"tool").symlink("evil", "/etc/passwd").tar(), &low, &[]).unwrap();
    unpack(&Archive::new().hard_link("alias", "bin/tool").tar(), &root, std::slice::from_ref(&low)).unwrap();
    let alias = root.join("alias").metadata().unwrap();
    assert_eq!((alias.mode() & 0o7777, alias.uid()), (0o4711, 42));
    assert_eq!(fs::read(root.join("alias")).unwrap(), b"tool");
    let error = unpack(&Archive::new().hard_link("alias", "evil").tar(), &folder.join("other"), &[low]);
    assert!(error.unwrap_err().to_string().contains("not in the image"));
}

#[test]
fn long_names_of_both_kinds() {
    let folder = Folder::new();
    let root = folder.join("root");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let gnu = [long.as_bytes(), b"\0"].concat();
    let tar = Archive::new()
        .raw(header(b"././@LongLink", EntryType::GNULongName, gnu.len()), &gnu)
        .file("cut", b"gnu")
        .pax(&[("path", format!("{long}x").as_bytes()), ("linkpath", long.as_bytes())])
        .symlink("cut", "cut")
        .tar();
    unpack(&tar, &root, &[]).unwrap();
    assert_eq!(fs::read(root.join(&long)).unwrap(), b"gnu");
    assert_eq!(fs::read_link(root.join(format!("{long}x"))).unwrap(), Path::new(&long));
}

/// A GNU sparse header: 3 bytes at 0, 2 at 8192, 10000 in all.
fn gnu_sparse() -> Header {
    let mut sparse = header(b"sparse", EntryType::GNUSparse, 514);
    let gnu = sparse.as_gnu_mut().unwrap();
    for (slot, (offset, length)) in gnu.sparse.iter_mut().zip([(0u64, 512u64), (8192, 2), (10_000, 0)]) {
        slot.offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
        slot.numbytes.copy_from_slice(format!("{length:011o}\0").as_bytes());
    }
    gnu.realsize.copy_from_slice(format!("{:011o}\0", 10_000).as_bytes());
    sparse
}

#[test]
fn sparse_files_keep_their_holes() {
    let folder = Folder::new();
    let root = folder.join("root");
    let mut data = vec![1u8; 512];
    data.extend_from_slice(&[2, 2]);
    let mut map = b"2\n0\n512\n8192\n2\n".to_vec();
    map.resize(512, 0);
    let pax: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"pax-1.0"),
        ("GNU.sparse.realsize", b"10000"),
    ];
    let old_pax: &[(&str, &[u8])] = &[
        ("GNU.sparse.map", b"0,512,8192,2"),
        ("GNU.sparse.size", b"10000"),
        ("GNU.sparse.name", b"pax-0.1"),
    ];
    let tar = Archive::new()
        .raw(gnu_sparse(), &data)
        .pax(pax)
        .file("GNUSparseFile.0/x", &[map, data.clone()].concat())
        .pax(old_pax)
        .file("GNUSparseFile.1/x", &data)
        .file("after", b"still in step")
        .tar();
    unpack(&tar, &root, &[]).unwrap();
    let mut expected = vec![0u8; 10_000];
    expected[..512].fill(1);
    expected[8192..8194].fill(2);
    for name in ["sparse", "pax-1.0", "pax-0.1"] {
        assert_eq!(fs::read(root.join(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(fs::read(root.join("after")).unwrap(), b"still in step");
}

#[test]
fn the_systems_own_tar_is_understood() {
    let folder = Folder::new();
    let source = folder.join("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::write(source.join("deep/er").join("n".repeat(150)), b"long").unwrap();
    let hole = fs::File::create(source.join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"end", (1 << 20) - 3).unwrap();
    xattr::set(source.join("deep"), "user.x", b"y").unwrap();
    for format in ["gnu", "pax"] {
        let out = std::process::Command::new("tar")
            .args(["-c", "--format", format, "--sparse", "-C"])
            .arg(&source)
            .arg(".")
            .output()
            .expect("tar is installed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let root = folder.join(format);
        unpack(&out.stdout, &root, &[]).unwrap();
        assert_eq!(fs::read(root.join("deep/er").join("n".repeat(150))).unwrap(), b"long");
        assert_eq!(fs::read(root.join("hole")).unwrap(), fs::read(source.join("hole")).unwrap());
    }
}

#[test]
fn limits_hold() {
    let folder = Folder::new();
    let tar = Archive::new().file("a", &[0; 1000]).file("b", &[0; 1000]).tar();
    let with = |entries, bytes| {
        let target = tempfile::tempdir_in(folder.path()).unwrap();
        unpack_layer(&tar[..], target.path(), &[], UnpackLimits { entries, bytes })
    };
    assert!(with(2, 2000).is_ok());
    assert!(matches!(with(1, 2000), Err(UnpackError::Limit { what: "entries", limit: 1 })));
    assert!(matches!(with(2, 1999), Err(UnpackError::Limit { what: "bytes", limit: 1999 })));
    let bomb = Archive::new().raw(header(b"x", EntryType::XHeader, 1 << 30), b"").tar();
    let text = unpack(&bomb, &folder.join("bomb"), &[]).unwrap_err().to_string();
    assert!(text.contains("header extension"), "{text}");
}
