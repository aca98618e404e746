//! Pulling from registries that are wrong, slow or dead.

use std::time::Duration;

use serde_json::json;
use wharf_image::manifest::media_type;
use wharf_image::registry::RegistryError;
use wharf_image::{Digest, ImageName, Images, PullError, PullOptions};

use crate::support::faults::Fault;
use crate::support::publish::put_manifest;
use crate::support::{Archive, Folder, Publish, Registry, amd64, images, options};

async fn refused(images: &Images, name: &ImageName) -> PullError {
    images.pull(name, &amd64(), &PullOptions::default()).await.unwrap_err()
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_refused_and_nothing_stays() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let published =
        Publish::new().layer(Archive::new().file("a", &noise(9000))).publish(&registry, "app", "latest");
    let (layer, name) = (published.layers[0], registry.name("app"));
    registry.fault(layer, Fault::Corrupt);
    let error = refused(&images, &name).await;
    assert!(matches!(error, PullError::Layer { .. }), "{error}");
    assert!(error.to_string().contains(&format!("digest mismatch: expected {layer}")), "{error}");
    registry.fault(layer, Fault::Short(5000));
    let text = refused(&images, &name).await.to_string();
    assert!(text.contains("5000 of"), "{text}");
    assert!(!images.content().contains(&layer));
    assert!(folder.files("content/ingest").is_empty());
    assert!(folder.files("snapshots/layers").is_empty());
    assert!(images.list().is_empty());
    registry.state.faults.lock().clear();
    images.pull(&name, &amd64(), &PullOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_stopped() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let archive = |n: usize| Archive::new().file("a", &noise(400_000 + n));
    let published = Publish::new().layer(archive(0)).layer(archive(1)).layer(archive(2));
    let published = published.publish(&registry, "app", "latest");
    registry.fault(published.layers[0], Fault::BreakOnce(150_000));
    registry.fault(published.layers[1], Fault::BreakOnceWithoutRanges(150_000));
    registry.fault(published.layers[2], Fault::Unavailable(2));
    images.pull(&registry.name("app"), &amd64(), &PullOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let gzip = Archive::new().file("a", b"1").gzip();
    Publish::new()
        .raw_layer(gzip, "application/vnd.oci.image.layer.v1.tar+gzip", Digest::of(b"other"))
        .publish(&registry, "app", "latest");
    let error = refused(&images, &registry.name("app")).await;
    assert!(matches!(error, PullError::DiffId { .. }), "{error}");
    assert!(folder.files("snapshots").iter().all(|f| f.ends_with("lock")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_missing() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let text = refused(&images, &registry.name("nothing:here")).await.to_string();
    assert!(text.contains("nothing:here does not exist in registry 127.0.0.1"), "{text}");
    assert_eq!(registry.take_requests().len(), 1, "it does not come back to try again");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_bounded_and_checked() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let config = json!({"mediaType": media_type::OCI_CONFIG, "digest": Digest::of(b"{}"), "size": 2});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": []});
    let mut huge = manifest.clone();
    huge["annotations"] = json!({"x": "y".repeat(5 << 20)});
    put_manifest(&registry, "huge", "latest", media_type::OCI_MANIFEST, &huge);
    let text = refused(&images, &registry.name("huge")).await.to_string();
    assert!(text.contains("more than 4194304 bytes"), "{text}");

    put_manifest(&registry, "bad", "latest", media_type::OCI_MANIFEST, &manifest);
    registry.state.blobs.lock().insert(Digest::of(b"{}"), "{}".into());
    let text = refused(&images, &registry.name("bad")).await.to_string();
    assert!(text.contains("not a valid image config"), "{text}");

    put_manifest(&registry, "old", "latest", media_type::DOCKER_SCHEMA1, &json!({"schemaVersion": 1}));
    let text = refused(&images, &registry.name("old")).await.to_string();
    assert!(text.contains("schema 1"), "{text}");

    // Another document than the one asked for by digest.
    let published = Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "swap", "latest");
    let other = registry.state.manifests.lock()["huge:latest"].clone();
    let small = registry.state.manifests.lock()["old:latest"].clone();
    drop(other);
    registry.state.manifests.lock().insert(format!("swap@{}", published.manifest), small);
    let error = refused(&images, &registry.name("swap").with_digest(published.manifest)).await;
    assert!(matches!(error, PullError::Registry(RegistryError::DigestMismatch(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_registry_is_a_clear_error_in_bounded_time() {
    let folder = Folder::new();
    let mut options = options(&folder);
    options.registry.attempts = 2;
    options.registry.read_timeout = Duration::from_millis(300);
    let images = Images::open(options).unwrap();
    // Nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let name = format!("{address}/app").parse().unwrap();
    let error = refused(&images, &name).await;
    assert!(error.may_pass(), "{error}");
    assert!(error.to_string().contains("is not reachable (tried 2 times): Connection refused"), "{error}");
    // Somebody listens and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/app", silent.local_addr().unwrap()).parse().unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(30), refused(&images, &name)).await;
    let text = waited.expect("it gives up by itself").to_string();
    assert!(text.contains("does not answer in time"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nobody_waits_for_any_more_ends() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    let images = images(&folder);
    let published = Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "app", "latest");
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    registry.fault(published.layers[0], Fault::Hold(gate));
    let name = registry.name("app");
    let pull = tokio::spawn({
        let (images, name) = (images.clone(), name.clone());
        async move { images.pull(&name, &amd64(), &PullOptions::default()).await }
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let asked = |r: &[String]| r.iter().any(|r| r.ends_with(&published.layers[0].to_string()));
    let mut requests = Vec::new();
    while !asked(&requests) {
        assert!(tokio::time::Instant::now() < deadline, "the layer is never asked for");
        requests.extend(registry.take_requests());
        tokio::task::yield_now().await;
    }
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    registry.state.faults.lock().clear();
    images.pull(&name, &amd64(), &PullOptions::default()).await.unwrap();
}
