//! Freeing the space of what no image refers to.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use wharf_registry::{Limits, Storage};

use crate::support::{Registry, command, files, settings};

#[tokio::test]
async fn deletes_what_no_manifest_refers_to() {
    let registry = Registry::start().await;
    let (gone, gone_digest) = registry.push_image("app", "gone", 1).await;
    let (kept, _) = registry.push_image("app", "kept", 2).await;
    registry.push_image("other", "shared", 2).await;
    let loose = registry.push_blob("app", b"no manifest ever refers to this").await;
    registry.delete(&format!("/v2/app/manifests/{gone_digest}")).send().await.unwrap();
    let dir = registry.stop().await;
    let before = files(dir.path());
    let staged = dir.path().join("store/repos/app/_tags/kept#1");
    std::fs::write(&staged, b"left by a power cut").unwrap();

    let storage = Storage::open(dir.path(), Limits::default()).unwrap();
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    // What is young may be about to be referred to.
    let collected = storage.collect_garbage(hour, now, true).await.unwrap();
    assert_eq!((collected.objects, collected.links), (0, 0));
    let later = now + 2 * hour;
    let counted = storage.collect_garbage(hour, later, true).await.unwrap();
    // Manifest, configuration and layer, and the loose blob; the manifest's link is gone already.
    assert_eq!((counted.objects, counted.links), (4, 3));
    assert_eq!(files(dir.path()).len(), before.len() + 1);
    let collected = storage.collect_garbage(hour, later, false).await.unwrap();
    assert_eq!((collected.objects, collected.links, collected.bytes), (4, 3, counted.bytes));
    assert_eq!(collected.leftovers, 1);
    let again = storage.collect_garbage(hour, later, false).await.unwrap();
    assert_eq!((again.objects, again.links, again.leftovers), (0, 0, 0));
    drop(storage);

    let settings = settings(dir.path());
    let registry = Registry::start_with(dir, settings).await;
    let layer = |image: &serde_json::Value| image["layers"][0]["digest"].as_str().unwrap().to_owned();
    for digest in [layer(&gone), loose] {
        assert_eq!(registry.status(&format!("/v2/app/blobs/{digest}")).await, StatusCode::NOT_FOUND);
    }
    for repo in ["app", "other"] {
        assert_eq!(registry.status(&format!("/v2/{repo}/blobs/{}", layer(&kept))).await, StatusCode::OK);
    }
    assert_eq!(registry.status("/v2/app/manifests/kept").await, StatusCode::OK);
}

#[tokio::test]
async fn runs_as_a_command_while_no_registry_does() {
    let registry = Registry::start().await;
    registry.push_blob("app", b"loose").await;
    let data_dir = registry.dir.path().to_owned();
    let gc = |dir: std::path::PathBuf| {
        tokio::task::spawn_blocking(move || {
            command().arg("gc").arg("--data-dir").arg(dir).args(["--grace", "0s"]).output().unwrap()
        })
    };
    let refused = gc(data_dir).await.unwrap();
    assert!(!refused.status.success());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("in use by another wharf-registry: stop it first"), "{message}");

    let dir = registry.stop().await;
    let done = gc(dir.path().to_owned()).await.unwrap();
    assert!(done.status.success());
    let message = String::from_utf8(done.stdout).unwrap();
    assert!(message.starts_with("deleted: 1 objects (5 bytes), 1 links"), "{message}");
}
