//! Pushing manifests.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    DOCKER_IMAGE, OCI_IMAGE, OCI_INDEX, Registry, bytes, descriptor, header, refused, sha256, sha512,
};

#[tokio::test]
async fn by_tag_and_by_digest() {
    let registry = Registry::start().await;
    let (manifest, digest) = registry.push_image("team/app", "v1", 1).await;
    for reference in ["v1", &digest] {
        let got = registry.get(&format!("/v2/team/app/manifests/{reference}")).send().await.unwrap();
        assert_eq!(header(&got, "content-type"), OCI_IMAGE);
        assert_eq!(header(&got, "docker-content-digest"), digest);
        assert_eq!(got.text().await.unwrap(), manifest.to_string());
    }
    for digest in [digest, sha512(manifest.to_string().as_bytes())] {
        let response = registry.put_manifest("team/app", &digest, OCI_IMAGE, &manifest).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(header(&response, "location"), format!("/v2/team/app/manifests/{digest}"));
        assert_eq!(header(&response, "docker-content-digest"), digest);
        assert_eq!(registry.status(&format!("/v2/team/app/manifests/{digest}")).await, StatusCode::OK);
    }
    let wrong = registry.put_manifest("team/app", &sha256(b"x"), OCI_IMAGE, &manifest).await;
    refused(wrong, StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn a_tag_moves_to_another_manifest() {
    let registry = Registry::start().await;
    let (_, old) = registry.push_image("app", "latest", 1).await;
    let (_, new) = registry.push_image("app", "latest", 2).await;
    let got = registry.head("/v2/app/manifests/latest").send().await.unwrap();
    assert_eq!(header(&got, "docker-content-digest"), new);
    assert_eq!(registry.status(&format!("/v2/app/manifests/{old}")).await, StatusCode::OK);
}

#[tokio::test]
async fn indexes_and_docker_media_types() {
    let registry = Registry::start().await;
    let (image, digest) = registry.push_image("app", "amd64", 1).await;
    let size = image.to_string().len();
    let mut index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_IMAGE, "digest": digest, "size": size,
                       "platform": {"architecture": "amd64", "os": "linux"}}],
    });
    let response = registry.put_manifest("app", "all", OCI_INDEX, &index).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let got = registry.get("/v2/app/manifests/all").send().await.unwrap();
    assert_eq!(header(&got, "content-type"), OCI_INDEX);

    index["manifests"][0]["digest"] = json!(sha256(b"not pushed"));
    let response = registry.put_manifest("app", "all", OCI_INDEX, &index).await;
    refused(response, StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN").await;

    let mut docker = image;
    docker["mediaType"] = json!(DOCKER_IMAGE);
    let response = registry.put_manifest("app", "docker", DOCKER_IMAGE, &docker).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let got = registry.get("/v2/app/manifests/docker").send().await.unwrap();
    assert_eq!(header(&got, "content-type"), DOCKER_IMAGE);
}

#[tokio::test]
async fn everything_a_manifest_refers_to_has_to_be_in_its_repository() {
    let registry = Registry::start().await;
    let (mut manifest, _) = registry.push_image("app", "v1", 1).await;
    // Known to the registry, but not to this repository.
    let other = bytes(10, 77);
    registry.push_blob("elsewhere", &other).await;
    manifest["layers"] =
        json!([descriptor("application/x", &other), descriptor("application/x", b"nowhere")]);
    let response = registry.put_manifest("app", "v2", OCI_IMAGE, &manifest).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body: serde_json::Value = response.json().await.unwrap();
    let mut missing: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|e| e["detail"]["digest"].as_str().unwrap()).collect();
    missing.sort_unstable();
    let mut expected = [sha256(&other), sha256(b"nowhere")];
    expected.sort_unstable();
    assert_eq!(missing, expected);
    assert_eq!(registry.status("/v2/app/manifests/v2").await, StatusCode::NOT_FOUND);

    manifest["layers"] = json!([]);
    manifest["config"]["size"] = json!(1);
    let response = registry.put_manifest("app", "v2", OCI_IMAGE, &manifest).await;
    refused(response, StatusCode::BAD_REQUEST, "SIZE_INVALID").await;
}

#[tokio::test]
async fn what_is_not_a_manifest_is_refused() {
    let registry = Registry::start().await;
    let (manifest, _) = registry.push_image("app", "v1", 1).await;
    let put = |body: Vec<u8>| {
        registry.put("/v2/app/manifests/v2").header("content-type", OCI_IMAGE).body(body).send()
    };
    let broken: [&[u8]; 6] = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{\"schemaVersion\": 2}"];
    for body in broken {
        refused(put(body.to_vec()).await.unwrap(), StatusCode::BAD_REQUEST, "MANIFEST_INVALID").await;
    }
    let deep = [b"{\"a\":".repeat(50_000), b"1".to_vec()].concat();
    refused(put(deep).await.unwrap(), StatusCode::BAD_REQUEST, "MANIFEST_INVALID").await;

    let mut padded = manifest.to_string().into_bytes();
    padded.resize(4 * 1024 * 1024, b' ');
    assert_eq!(put(padded.clone()).await.unwrap().status(), StatusCode::CREATED);
    padded.push(b' ');
    refused(put(padded).await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID").await;

    let mismatch = registry.put_manifest("app", "v3", OCI_INDEX, &manifest).await;
    refused(mismatch, StatusCode::BAD_REQUEST, "MANIFEST_INVALID").await;
    let unknown = registry.put_manifest("app", "v3", "text/html", &json!({"schemaVersion": 2})).await;
    refused(unknown, StatusCode::BAD_REQUEST, "MANIFEST_INVALID").await;
    let tag = registry.put_manifest("app", "-bad", OCI_IMAGE, &manifest).await;
    refused(tag, StatusCode::BAD_REQUEST, "TAG_INVALID").await;
}
