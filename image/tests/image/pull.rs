//! Pulling what a registry serves well.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Semaphore;
use wharf_image::snapshot::SnapshotKey;
use wharf_image::{Images, ImagesOptions, LayerPhase, ProgressEvent, PullError, PullOptions, PullPolicy};

use crate::support::faults::{Fault, Gate};
use crate::support::publish::publish_index;
use crate::support::{Archive, Folder, Publish, Registry, amd64, images, options, policy};

fn key(text: &str) -> SnapshotKey {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_every_format_and_runs_from_it() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    Publish::new()
        .config(json!({"Entrypoint": ["/bin/app"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}}))
        .layer(Archive::new().folder("etc/", 0o755).file("etc/base", b"one").file("etc/gone", b"x"))
        .zstd_layer(Archive::new().file("etc/base", b"two").file("etc/.wh.gone", b""))
        .plain_layer(Archive::new().file("top", b"three"))
        .publish(&registry, "team/app", "v1");
    let name = registry.name("team/app:v1");
    let image = images.pull(&name, &amd64(), &PullOptions::default()).await.unwrap();
    assert_eq!(image.config.entrypoint, ["/bin/app"]);
    assert_eq!(image.config.exposed_ports, ["80/tcp"]);
    assert_eq!(image.layers.len(), 3);
    let snapshot = images.prepare(&key("c1"), &image).await.unwrap();
    assert_eq!(fs::read(snapshot.rootfs.join("etc/base")).unwrap(), b"two");
    assert_eq!(fs::read(snapshot.rootfs.join("top")).unwrap(), b"three");
    assert!(!snapshot.rootfs.join("etc/gone").exists());
    fs::write(snapshot.rootfs.join("written"), b"w").unwrap();
    assert_eq!(fs::read(snapshot.upper.join("written")).unwrap(), b"w");
    assert!(images.remove_snapshot(&key("c1")).await.unwrap());
    assert!(!snapshot.rootfs.exists());
    assert!(!images.remove_snapshot(&key("c1")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_docker_manifests_and_chooses_by_platform() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let arm = Publish::new()
        .architecture("arm64")
        .layer(Archive::new().file("arm", b""))
        .publish(&registry, "m", "arm");
    let amd = Publish::new().docker().layer(Archive::new().file("amd", b"")).publish(&registry, "m", "amd");
    publish_index(&registry, "m", "all", &[&arm, &amd]);
    let image = images.pull(&registry.name("m:all"), &amd64(), &PullOptions::default()).await.unwrap();
    assert_eq!(image.manifest.digest, amd.manifest);
    assert_eq!(image.platform, amd64());

    let error = images
        .pull(&registry.name("m:all"), &"linux/riscv64".parse().unwrap(), &PullOptions::default())
        .await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("not for linux/riscv64: it is for linux/amd64, linux/arm64"), "{text}");
    let error = images.pull(&registry.name("m:arm"), &amd64(), &PullOptions::default()).await.unwrap_err();
    assert!(matches!(error, PullError::WrongPlatform { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_the_registry_only_when_the_policy_says_so() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let first = Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "app", "latest");
    let name = registry.name("app");
    let pull = async |p| images.pull(&name, &amd64(), &policy(p)).await;
    let error = pull(PullPolicy::Never).await.unwrap_err();
    assert!(matches!(error, PullError::NotHere(_)), "{error}");
    assert_eq!(registry.take_requests(), [""; 0]);

    pull(PullPolicy::IfMissing).await.unwrap();
    assert!(registry.take_requests().len() >= 3);
    for p in [PullPolicy::IfMissing, PullPolicy::Never] {
        assert_eq!(pull(p).await.unwrap().manifest.digest, first.manifest);
    }
    assert_eq!(registry.take_requests(), [""; 0]);
    pull(PullPolicy::Always).await.unwrap();
    assert_eq!(registry.take_requests(), ["HEAD /v2/app/manifests/latest"]);

    let second = Publish::new().layer(Archive::new().file("a", b"2")).publish(&registry, "app", "latest");
    assert_eq!(pull(PullPolicy::IfMissing).await.unwrap().manifest.digest, first.manifest);
    assert_eq!(pull(PullPolicy::Always).await.unwrap().manifest.digest, second.manifest);
    registry.take_requests();
    // The image is known by its digest, so another name for it costs nothing.
    let pinned = name.with_digest(second.manifest);
    let image = images.pull(&pinned, &amd64(), &policy(PullPolicy::Always)).await.unwrap();
    assert_eq!((image.name.clone(), image.manifest.digest), (pinned, second.manifest));
    assert_eq!(registry.take_requests(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_downloads_each_blob_once() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let base = Archive::new().file("base", &[7; 50_000]);
    let one = Publish::new().layer(base.clone()).layer(Archive::new().file("one", b"1"));
    let one = one.publish(&registry, "one", "latest");
    Publish::new().layer(base).layer(Archive::new().file("two", b"2")).publish(&registry, "two", "latest");
    // Nobody gets the base layer before all have asked.
    let gate = Arc::new(Semaphore::new(0));
    registry.fault(one.layers[0], Fault::Hold(gate.clone()));
    let events = Arc::new(AtomicUsize::new(0));
    let pulls: Vec<_> = (0..40)
        .map(|i| {
            let (images, name) = (images.clone(), registry.name(if i % 2 == 0 { "one" } else { "two" }));
            let heard = events.clone();
            let progress: Arc<dyn wharf_image::Progress> = Arc::new(move |event: &ProgressEvent| {
                if matches!(event, ProgressEvent::Layer { phase: LayerPhase::Done, .. }) {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            });
            let options = PullOptions { progress: Some(progress), ..PullOptions::default() };
            tokio::spawn(async move { images.pull(&name, &amd64(), &options).await })
        })
        .collect();
    gate.add_permits(1000);
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    let requests = registry.take_requests();
    for digest in &one.layers {
        let count = requests.iter().filter(|r| r.ends_with(&digest.to_string())).count();
        assert_eq!(count, 1, "{digest} of {requests:#?}");
    }
    let manifests = requests.iter().filter(|r| r.contains("/manifests/")).count();
    assert_eq!(manifests, 2, "{requests:#?}");
    assert!(events.load(Ordering::Relaxed) >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_a_restart_and_collects_what_nobody_needs() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    Publish::new().layer(Archive::new().file("a", b"kept")).publish(&registry, "kept", "latest");
    Publish::new().layer(Archive::new().file("a", b"gone")).publish(&registry, "gone", "latest");
    let (kept, gone) = (registry.name("kept"), registry.name("gone"));
    {
        let images = images(&folder);
        let image = images.pull(&kept, &amd64(), &PullOptions::default()).await.unwrap();
        images.prepare(&key("running"), &image).await.unwrap();
        images.pull(&gone, &amd64(), &PullOptions::default()).await.unwrap();
    }
    registry.take_requests();
    let images = images(&folder);
    let found = images.snapshots().await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].mounted);
    assert_eq!(fs::read(found[0].rootfs.join("a")).unwrap(), b"kept");
    let image = images.pull(&kept, &amd64(), &PullOptions::default()).await.unwrap();
    assert_eq!(images.prepare(&key("running"), &image).await.unwrap(), found[0]);
    assert_eq!(registry.take_requests(), [""; 0]);

    assert_eq!(images.gc(Vec::new()).await.unwrap(), Default::default());
    let protected = images.get(&gone).unwrap().manifest.digest;
    assert!(images.remove(&gone).await.unwrap());
    assert!(images.remove(&kept).await.unwrap(), "its snapshot still needs its layers");
    assert_eq!(images.gc(vec![protected]).await.unwrap().layers, 0);
    let collected = images.gc(Vec::new()).await.unwrap();
    assert_eq!((collected.layers, collected.blobs), (1, 3));
    assert_eq!(fs::read(found[0].rootfs.join("a")).unwrap(), b"kept");
    images.remove_snapshot(&key("running")).await.unwrap();
    assert_eq!(images.gc(Vec::new()).await.unwrap().layers, 1);
    assert!(images.content().list().unwrap().is_empty());
    let again = images.pull(&kept, &amd64(), &PullOptions::default()).await.unwrap();
    images.prepare(&key("again"), &again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_keeps_images_without_unpacking_them() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = Images::open(ImagesOptions::for_keeping(folder.path())).unwrap();
    let published = Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "app", "latest");
    let image = images.pull(&registry.name("app"), &amd64(), &PullOptions::default()).await.unwrap();
    assert!(!image.unpacked && images.content().contains(&published.layers[0]));
    assert!(images.prepare(&key("x"), &image).await.is_err());
    assert!(!folder.join("snapshots").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_credentials_when_asked_for_them() {
    for token in [false, true] {
        let (registry, folder) = (Registry::start().await, Folder::new());
        Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "app", "latest");
        let (username, password) = ("ann", "secret");
        let gate =
            if token { Gate::Token { username, password } } else { Gate::Basic { username, password } };
        *registry.state.gate.lock() = Some(gate);
        let images = images(&folder);
        let name = registry.name("app");
        let with = |password: &str| PullOptions {
            credentials: Some(wharf_image::Credentials {
                username: username.into(),
                password: password.into(),
            }),
            ..PullOptions::default()
        };
        for wrong in [PullOptions::default(), with("guess")] {
            let error = images.pull(&name, &amd64(), &wrong).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("refuses access to") && !text.contains("guess"), "{text}");
        }
        images.pull(&name, &amd64(), &with(password)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_agent_uses_a_folder() {
    let folder = Folder::new();
    let _first = images(&folder);
    let text = Images::open(options(&folder)).err().unwrap().to_string();
    assert!(text.contains("in use by another process"), "{text}");
}
