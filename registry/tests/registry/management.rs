//! Deleting.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{OCI_IMAGE, Registry, refused, sha256};

#[tokio::test]
async fn a_tag_without_its_manifest() {
    let registry = Registry::start().await;
    let (_, digest) = registry.push_image("app", "v1", 1).await;
    let delete = || registry.delete("/v2/app/manifests/v1").send();
    assert_eq!(delete().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(registry.status("/v2/app/manifests/v1").await, StatusCode::NOT_FOUND);
    assert_eq!(registry.status(&format!("/v2/app/manifests/{digest}")).await, StatusCode::OK);
    assert_eq!(registry.json("/v2/app/tags/list").await["tags"], json!([]));
    refused(delete().await.unwrap(), StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN").await;
}

#[tokio::test]
async fn a_manifest_with_all_its_tags() {
    let registry = Registry::start().await;
    let (manifest, digest) = registry.push_image("app", "v1", 1).await;
    registry.put_manifest("app", "stable", OCI_IMAGE, &manifest).await;
    let (_, other) = registry.push_image("app", "v2", 2).await;
    registry.push_image("elsewhere", "v1", 1).await;
    let delete = || registry.delete(&format!("/v2/app/manifests/{digest}")).send();
    assert_eq!(delete().await.unwrap().status(), StatusCode::ACCEPTED);
    for reference in ["v1", "stable", &digest] {
        assert_eq!(registry.status(&format!("/v2/app/manifests/{reference}")).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(registry.json("/v2/app/tags/list").await["tags"], json!(["v2"]));
    assert_eq!(registry.status(&format!("/v2/app/manifests/{other}")).await, StatusCode::OK);
    // Another repository keeps its own.
    assert_eq!(registry.status("/v2/elsewhere/manifests/v1").await, StatusCode::OK);
    refused(delete().await.unwrap(), StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN").await;
    // It can come back.
    let (_, again) = registry.push_image("app", "v1", 1).await;
    assert_eq!(again, digest);
    assert_eq!(registry.status("/v2/app/manifests/v1").await, StatusCode::OK);
}

#[tokio::test]
async fn a_blob_from_one_repository() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("one", b"shared").await;
    registry.push_blob("two", b"shared").await;
    let delete = |digest: &str| registry.delete(&format!("/v2/one/blobs/{digest}")).send();
    assert_eq!(delete(&digest).await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(registry.status(&format!("/v2/one/blobs/{digest}")).await, StatusCode::NOT_FOUND);
    assert_eq!(registry.status(&format!("/v2/two/blobs/{digest}")).await, StatusCode::OK);
    refused(delete(&digest).await.unwrap(), StatusCode::NOT_FOUND, "BLOB_UNKNOWN").await;
    refused(delete(&sha256(b"never")).await.unwrap(), StatusCode::NOT_FOUND, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn while_others_push() {
    let registry = Registry::start().await;
    registry.push_image("app", "keep", 0).await;
    let registry = &registry;
    let round = |seed: u8| async move {
        let tag = format!("t{seed}");
        let (_, digest) = registry.push_image("app", &tag, seed).await;
        assert_eq!(registry.status(&format!("/v2/app/manifests/{tag}")).await, StatusCode::OK);
        let deleted = registry.delete(&format!("/v2/app/manifests/{digest}")).send().await.unwrap();
        assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    };
    futures::future::join_all((1..=20).map(round)).await;
    assert_eq!(registry.json("/v2/app/tags/list").await["tags"], json!(["keep"]));
}
