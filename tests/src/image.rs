//! A small image made of this machine's own busybox.

use crate::cluster::Cluster;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

/// Makes a root file system of the machine's static busybox below `root`.
///
/// # Panics
/// When there is no static busybox (Debian: package busybox-static).
pub fn busybox_rootfs(root: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("a static busybox is there (package busybox-static)");
    for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "data"] {
        fs::create_dir_all(root.join(folder)).expect("a folder can be made");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("modes can be set");
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox can be copied");
    let applets = Command::new(busybox).arg("--list").output().expect("busybox can be run").stdout;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).expect("a link can be made");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
        .expect("a file can be written");
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n").expect("a file can be written");
}

/// Imports the busybox image as `TAG` into the cluster's registry and returns its name.
///
/// # Panics
/// When that fails.
pub fn import_busybox(cluster: &Cluster, tag: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    busybox_rootfs(folder.path());
    fs::write(folder.path().join("etc/version"), format!("{tag}\n")).expect("a file can be written");
    let name = format!("{}/busybox:{tag}", cluster.registry_address());
    cluster.ok(&[
        "image",
        "import",
        folder.path().to_str().expect("temporary paths are text"),
        &name,
        "--cmd",
        "/bin/sh",
    ]);
    name
}
