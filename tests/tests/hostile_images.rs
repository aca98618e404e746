//! Images that are damaged, hostile or too large: the reason is visible, nothing escapes, nothing else is harmed.

use std::{fs, io::Write, path::Path};
use wharf_tests::{Cluster, Options, busybox_rootfs, import_busybox, push_image_with_layer, stack, within};

/// A tar with one file of this name, written as it stands: no library would.
fn file_entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn link_entry(name: &str, target: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_link_name_literal(target).expect("the target is short");
    header.set_mode(0o777);
    header.set_size(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn run(cluster: &Cluster, name: &str, image: &str) {
    let yaml =
        format!("name: {name}\nservices:\n  main:\n    image: {image}\n    command: [sleep, '1000']\n");
    let file = cluster.write("one.yaml", &yaml);
    cluster.ok(&["apply", "--yes", "--detach", "-f", &file]);
}

fn await_message(cluster: &Cluster, service: &str, words: &[&str]) {
    within(
        90,
        &format!("a task of {service} says one of {words:?}"),
        || cluster.all_tasks(service),
        |tasks| tasks.iter().any(|task| words.iter().any(|word| task.message.to_lowercase().contains(word))),
    );
}

#[test]
fn hostile_damaged_and_oversized_images_harm_nothing() {
    let cluster = Cluster::with(Options {
        controllers: 1,
        agents: 1,
        agent_disk: Some(64 << 20),
        ..Options::default()
    });
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 2));
    let before = cluster.await_running("idle/sleeper", 2, 60);
    let registry = cluster.registry_address();

    // A name that climbs out, and a link that leads out with a file behind it.
    let marker = format!("/tmp/wharf-escaped-{}", std::process::id());
    let climbing = file_entry(&format!("../../../../../../../..{marker}"), b"escaped");
    let mut linked = link_entry("out", "/tmp");
    linked.extend(file_entry(&format!("out/{}", marker.trim_start_matches("/tmp/")), b"escaped"));
    for (name, mut layer) in [("climbing", climbing), ("linked", linked)] {
        layer.resize(layer.len() + 1024, 0);
        let image = format!("{registry}/{name}:1");
        push_image_with_layer(&cluster, &layer, &image);
        run(&cluster, name, &image);
        // Either the archive is refused by name, or it is taken with everything inside its root, where there is no
        // program to run.
        await_message(&cluster, &format!("{name}/main"), &["..", "out", "sleep"]);
        assert!(!Path::new(&marker).exists(), "{name}: an entry escaped its root");
    }

    // A blob that the registry's disk has damaged.
    let rootfs = tempfile::tempdir().expect("a folder can be made");
    busybox_rootfs(rootfs.path());
    fs::write(rootfs.path().join("etc/unique"), "damaged").expect("a file can be written");
    let damaged = format!("{registry}/damaged:1");
    let blobs = Path::new(&cluster.path("registry")).join("store/blobs/sha256");
    let known = list(&blobs);
    let folder = rootfs.path().to_str().expect("temporary paths are text");
    cluster.ok(&["image", "import", folder, &damaged, "--cmd", "/bin/sh"]);
    let layer = list(&blobs)
        .into_iter()
        .filter(|path| !known.contains(path))
        .max_by_key(|path| fs::metadata(path).map_or(0, |file| file.len()))
        .expect("the import made a layer");
    let mut bytes = fs::read(&layer).expect("the layer can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&layer, bytes).expect("the layer can be written");
    run(&cluster, "damaged", &damaged);
    await_message(&cluster, "damaged/main", &["digest"]);

    // A layer that is larger than the agent's disk.
    let mut noise = fs::File::create(rootfs.path().join("noise")).expect("a file can be made");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chunk = vec![0u8; 1 << 20];
    for _ in 0..96 {
        for byte in &mut chunk {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[0];
        }
        noise.write_all(&chunk).expect("a file can be written");
    }
    let large = format!("{registry}/large:1");
    cluster.ok(&["image", "import", folder, &large, "--cmd", "/bin/sh"]);
    run(&cluster, "large", &large);
    await_message(&cluster, "large/main", &["no space left", "disk is full", "disk full"]);

    let after = cluster.running("idle/sleeper");
    let pids = |tasks: &[wharf_tests::TaskView]| tasks.iter().map(|task| task.pid).collect::<Vec<_>>();
    assert_eq!(pids(&before), pids(&after), "what ran goes on");
    // The space that the failed pull took is free again: another small image can be pulled.
    for name in ["climbing", "linked", "damaged", "large"] {
        cluster.ok(&["rm", "stack", name, "--yes"]);
    }
    let second = import_busybox(&cluster, "2");
    cluster.apply(&stack::sleeper(&second, 2));
    cluster.await_running("idle/sleeper", 2, 60);
}

/// Every file below `folder`.
fn list(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files.extend(list(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
