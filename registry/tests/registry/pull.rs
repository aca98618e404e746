//! Reading blobs and manifests.

use reqwest::StatusCode;

use crate::support::{Registry, bytes, header, refused, sha256};

#[tokio::test]
async fn the_version_endpoint_says_what_this_is() {
    let registry = Registry::start().await;
    for path in ["/v2/", "/v2"] {
        let response = registry.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "docker-distribution-api-version"), "registry/2.0");
        assert_eq!(response.text().await.unwrap(), "{}");
    }
}

#[tokio::test]
async fn blobs_and_their_heads() {
    let registry = Registry::start().await;
    let content = bytes(700_000, 1);
    let digest = registry.push_blob("app", &content).await;
    let path = format!("/v2/app/blobs/{digest}");
    let head = registry.head(&path).send().await.unwrap();
    let get = registry.get(&path).send().await.unwrap();
    for response in [&head, &get] {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(response, "content-length"), "700000");
        assert_eq!(header(response, "docker-content-digest"), digest);
        assert_eq!(header(response, "accept-ranges"), "bytes");
    }
    assert!(head.bytes().await.unwrap().is_empty());
    assert!(get.bytes().await.unwrap() == content);
}

#[tokio::test]
async fn parts_of_blobs() {
    let registry = Registry::start().await;
    let content = bytes(300_000, 2);
    let path = format!("/v2/app/blobs/{}", registry.push_blob("app", &content).await);
    let part = |range: &'static str| registry.get(&path).header("range", range).send();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100000-299999", 100_000, 300_000),
        ("bytes=250000-", 250_000, 300_000),
        ("bytes=-10", 299_990, 300_000),
        ("bytes=299999-999999", 299_999, 300_000),
    ] {
        let response = part(range).await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(header(&response, "content-range"), format!("bytes {from}-{}/300000", to - 1));
        assert!(response.bytes().await.unwrap() == content[from..to], "{range}");
    }
    let beyond = part("bytes=300000-").await.unwrap();
    assert_eq!(header(&beyond, "content-range"), "bytes */300000");
    refused(beyond, StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID").await;
    // What it does not understand it may ignore.
    for range in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-1"] {
        let response = part(range).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.bytes().await.unwrap().len(), content.len());
    }
}

#[tokio::test]
async fn heads_of_manifests() {
    let registry = Registry::start().await;
    let (manifest, digest) = registry.push_image("app", "v1", 3).await;
    let head = registry.head("/v2/app/manifests/v1").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, "content-length"), manifest.to_string().len().to_string());
    assert_eq!(header(&head, "docker-content-digest"), digest);
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = Registry::start().await;
    let (_, manifest) = registry.push_image("app", "v1", 4).await;
    let blob = registry.push_blob("app", b"blob").await;
    let nothing = sha256(b"nothing");
    for (path, code) in [
        (format!("/v2/app/blobs/{nothing}"), "BLOB_UNKNOWN"),
        (format!("/v2/other/blobs/{blob}"), "BLOB_UNKNOWN"),
        // A manifest is not a blob, nor the other way round.
        (format!("/v2/app/blobs/{manifest}"), "BLOB_UNKNOWN"),
        (format!("/v2/app/manifests/{blob}"), "MANIFEST_UNKNOWN"),
        (format!("/v2/app/manifests/{nothing}"), "MANIFEST_UNKNOWN"),
        (format!("/v2/other/manifests/{manifest}"), "MANIFEST_UNKNOWN"),
        ("/v2/app/manifests/v2".into(), "MANIFEST_UNKNOWN"),
        ("/v2/app/manifests/.INVALID_MANIFEST_NAME".into(), "MANIFEST_UNKNOWN"),
    ] {
        refused(registry.get(&path).send().await.unwrap(), StatusCode::NOT_FOUND, code).await;
        let head = registry.head(&path).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::NOT_FOUND);
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn all_is_still_there_after_a_restart() {
    let registry = Registry::start().await;
    let (manifest, _) = registry.push_image("deep/er/app", "v1", 5).await;
    let registry = registry.restart().await;
    let got = registry.get("/v2/deep/er/app/manifests/v1").send().await.unwrap();
    assert_eq!(got.text().await.unwrap(), manifest.to_string());
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let got = registry.get(&format!("/v2/deep/er/app/blobs/{layer}")).send().await.unwrap();
    assert_eq!(sha256(&got.bytes().await.unwrap()), layer);
}
