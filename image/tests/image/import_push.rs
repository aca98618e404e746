//! Making images out of folders and archives, and pushing them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use wharf_image::registry::RegistryError;
use wharf_image::snapshot::SnapshotKey;
use wharf_image::{
    ImageConfig, ImageName, Images, ImagesOptions, ImportSource, ImportSpec, LayerPhase, ProgressEvent,
    PullOptions, PushError, PushOptions,
};

use crate::support::faults::Gate;
use crate::support::{Archive, Folder, Registry, amd64, images};

fn keeping(folder: &Folder) -> Images {
    let mut options = ImagesOptions::for_keeping(folder.join("kept"));
    options.registry.attempts = 3;
    Images::open(options).unwrap()
}

fn spec() -> ImportSpec {
    let config = ImageConfig {
        cmd: vec!["/bin/app".into()],
        env: vec!["A=b".into()],
        labels: [("k".to_owned(), "v".to_owned())].into(),
        ..ImageConfig::default()
    };
    ImportSpec { config, platform: amd64(), ..ImportSpec::default() }
}

fn rootfs(folder: &Folder, name: &str) -> PathBuf {
    let root = folder.join(name);
    fs::create_dir_all(root.join("bin")).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let app: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(300_000).collect();
    fs::write(root.join("bin/app"), app).unwrap();
    fs::set_permissions(root.join("bin/app"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("bin/app"), root.join("bin/other")).unwrap();
    symlink("bin/app", root.join("link")).unwrap();
    fs::write(root.join("n".repeat(180)), b"long").unwrap();
    xattr::set(root.join("bin"), "user.note", b"n").unwrap();
    root
}

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_becomes_the_same_image_every_time() {
    let folder = Folder::new();
    let images = keeping(&folder);
    let mut digests = Vec::new();
    for copy in ["one", "two"] {
        let source = ImportSource::Folder { path: rootfs(&folder, copy), owner: Some((0, 0)) };
        digests.push(images.import(source, spec(), &name(copy)).await.unwrap().manifest.digest);
    }
    assert_eq!(digests[0], digests[1]);
    let mut other = spec();
    other.config.cmd.push("--flag".into());
    let source = ImportSource::Folder { path: folder.join("one"), owner: Some((0, 0)) };
    let other = images.import(source, other, &name("three")).await.unwrap();
    assert_ne!(other.manifest.digest, digests[0]);
    assert_eq!(other.layers, images.get(&name("one")).unwrap().layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_from_a_folder_through_a_registry_into_a_root() {
    for chunk in [None, Some(100_000)] {
        let (registry, client, node) = (Registry::start().await, Folder::new(), Folder::new());
        let kept = keeping(&client);
        let remote = registry.name("team/app:v1");
        let source = ImportSource::Folder { path: rootfs(&client, "rootfs"), owner: Some((0, 0)) };
        let made = kept.import(source, spec(), &remote).await.unwrap();
        let phases = Arc::new(Mutex::new(Vec::new()));
        let heard = phases.clone();
        let progress: Arc<dyn wharf_image::Progress> = Arc::new(move |event: &ProgressEvent| {
            if let ProgressEvent::Layer { phase, done, total, .. } = event {
                assert!(done <= total);
                heard.lock().push(*phase);
            }
        });
        let options = PushOptions { chunk, progress: Some(progress), ..PushOptions::default() };
        // One chunk gets lost half way.
        *registry.state.lose_chunk.lock() = chunk.map(|_| 300);
        assert_eq!(kept.push(&remote, &options).await.unwrap(), made.manifest.digest);
        assert!(phases.lock().contains(&LayerPhase::Uploading));
        assert!(registry.state.lose_chunk.lock().is_none());

        phases.lock().clear();
        kept.push(&remote, &options).await.unwrap();
        assert!(phases.lock().iter().all(|p| *p == LayerPhase::Present), "what is there is not sent again");

        let images = images(&node);
        let image = images.pull(&remote, &amd64(), &PullOptions::default()).await.unwrap();
        assert_eq!(image.manifest.digest, made.manifest.digest);
        assert_eq!((&image.config.cmd, &image.config.labels), (&spec().config.cmd, &spec().config.labels));
        let key: SnapshotKey = "c".parse().unwrap();
        let root = images.prepare(&key, &image).await.unwrap().rootfs;
        let app = root.join("bin/app").metadata().unwrap();
        assert_eq!((app.mode() & 0o7777, app.len(), app.nlink()), (0o4755, 300_000, 2));
        assert_eq!(fs::read_link(root.join("link")).unwrap(), PathBuf::from("bin/app"));
        assert_eq!(fs::read(root.join("n".repeat(180))).unwrap(), b"long");
        assert_eq!(xattr::get(root.join("bin"), "user.note").unwrap().unwrap(), b"n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_taken_over_as_it_is() {
    let folder = Folder::new();
    let images = images(&folder);
    let archive = Archive::new().folder("etc/", 0o755).file("etc/x", b"y");
    fs::write(folder.join("rootfs.tar.gz"), archive.clone().gzip()).unwrap();
    fs::write(folder.join("rootfs.tar"), archive.clone().tar()).unwrap();
    let import =
        async |file: &str| images.import(ImportSource::Tar(folder.join(file)), spec(), &name("app")).await;
    let gzip = import("rootfs.tar.gz").await.unwrap();
    let plain = import("rootfs.tar").await.unwrap();
    assert_eq!(gzip.manifest, plain.manifest);
    assert_eq!(plain.chain_ids, [wharf_image::Digest::of(&archive.tar())]);
    let root = images.prepare(&"c".parse().unwrap(), &plain).await.unwrap().rootfs;
    assert_eq!(fs::read(root.join("etc/x")).unwrap(), b"y");

    for (file, bytes, says) in [
        ("no.tar", b"not an archive, really ".repeat(50), "checksum"),
        ("empty.tar", Vec::new(), "it is empty"),
        ("cut.tar", Archive::new().file("a", &[1; 5000]).tar()[..3000].to_vec(), "cut off"),
        ("out.tar", Archive::new().file("../a", b"1").tar(), "could leave the root"),
    ] {
        fs::write(folder.join(file), bytes).unwrap();
        let text = import(file).await.unwrap_err().to_string();
        assert!(text.contains(says) && text.contains(file), "{text}");
    }
    let text = import("missing.tar").await.unwrap_err().to_string();
    assert!(text.contains("can't open") && text.contains("missing.tar"), "{text}");
    assert!(folder.files("content/ingest").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_needs_an_image_and_the_right_to() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = keeping(&folder);
    let remote = registry.name("app:v1");
    let error = images.push(&remote, &PushOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("app:v1 is not here"), "{error}");
    let source = ImportSource::Folder { path: rootfs(&folder, "rootfs"), owner: None };
    images.import(source, spec(), &name("local")).await.unwrap();
    images.tag(&name("local"), &remote).await.unwrap();
    *registry.state.gate.lock() = Some(Gate::Token { username: "ann", password: "secret" });
    let error = images.push(&remote, &PushOptions::default()).await.unwrap_err();
    assert!(matches!(error, PushError::Registry(RegistryError::Unauthorized { .. })), "{error}");
    let credentials = Some(wharf_image::Credentials { username: "ann".into(), password: "secret".into() });
    images.push(&remote, &PushOptions { credentials, ..PushOptions::default() }).await.unwrap();
}
