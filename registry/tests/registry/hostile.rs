//! Clients that mean harm, or don't know what they do.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::{Method, StatusCode};

use tempfile::TempDir;

use crate::support::{DEADLINE, Process, Registry, bytes, client, files, header, refused, sha256};

/// Sends bytes as they are, which no HTTP library would, and returns the answer's beginning.
async fn raw(registry: &Registry, request: Vec<u8>) -> String {
    let addr = registry.addr;
    tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(addr).unwrap();
        connection.set_read_timeout(Some(DEADLINE)).unwrap();
        connection.write_all(&request).unwrap();
        let mut answer = vec![0; 4096];
        let length = connection.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn nothing_leaves_the_store() {
    let registry = Registry::start().await;
    let before = files(registry.dir.path());
    for path in [
        "/v2/../../etc/passwd",
        "/v2/a/../../manifests/x",
        "/v2/%2e%2e/%2e%2e/manifests/passwd",
        "/v2/a%2f..%2f..%2fb/manifests/x",
        "/v2/a/manifests/..%2f..%2fx",
        "/v2/a/manifests/%2e%2e",
        "/v2/a/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd",
        "/v2/a/blobs/uploads/..",
        "/v2/a/blobs/uploads/%2e%2e%2f%2e%2e",
        "/v2/_blobs/manifests/x",
        "/v2/a/_tags/manifests/x",
        "/v2/a/manifests/x%00y",
        "/v2/a/manifests/\u{7f}",
        "//v2/",
        "*",
        "http://elsewhere/v2/a/tags/list",
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "POST"] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"
            );
            let answer = raw(&registry, head.into_bytes()).await;
            let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
            assert!(status.is_some_and(|s| (400..500).contains(&s)), "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(files(registry.dir.path()), before);
    assert_eq!(registry.status("/v2/").await, StatusCode::OK);
}

#[tokio::test]
async fn long_and_malformed_requests_are_refused() {
    let registry = Registry::start().await;
    let long = registry.get(&format!("/v2/{}/tags/list", "a".repeat(256))).send().await.unwrap();
    refused(long, StatusCode::BAD_REQUEST, "NAME_INVALID").await;
    for request in [
        format!("GET /v2/{} HTTP/1.1\r\n\r\n", "a".repeat(1_000_000)),
        format!("GET /v2/ HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1_000_000)),
        format!("GET /v2/ HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(10_000)),
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\ncontent-length: -1\r\n\r\n".into(),
        "\u{0}\u{1}\u{2}\r\n\r\n".into(),
    ] {
        let answer = raw(&registry, request.into_bytes()).await;
        let refused =
            answer.is_empty() || answer.split(' ').nth(1).is_some_and(|status| status.starts_with('4'));
        assert!(refused, "{answer:?}");
    }
    assert_eq!(registry.status("/v2/").await, StatusCode::OK);
}

#[tokio::test]
async fn methods_that_an_endpoint_lacks() {
    let registry = Registry::start().await;
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let blob = format!("/v2/a/blobs/{digest}");
    for (path, method, allowed) in [
        ("/v2/", Method::POST, "GET, HEAD"),
        ("/v2/_catalog", Method::DELETE, "GET"),
        ("/v2/a/tags/list", Method::POST, "GET"),
        ("/v2/a/manifests/x", Method::PATCH, "GET, HEAD, PUT, DELETE"),
        (blob.as_str(), Method::PUT, "GET, HEAD, DELETE"),
        ("/v2/a/blobs/uploads/", Method::GET, "POST"),
    ] {
        let response = registry.request(method, path).send().await.unwrap();
        assert_eq!(header(&response, "allow"), allowed, "{path}");
        assert_eq!(header(&response, "docker-distribution-api-version"), "registry/2.0");
        refused(response, StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED").await;
    }
    for path in ["/", "/v1/", "/v2/a", "/healthz"] {
        let response = registry.get(path).send().await.unwrap();
        refused(response, StatusCode::NOT_FOUND, "UNSUPPORTED").await;
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_reads_the_refusal() {
    let registry = Registry::start().await;
    let body = vec![b' '; 7 * 1024 * 1024];
    let put = registry.put("/v2/a/manifests/x").header("content-type", "application/json").body(body.clone());
    refused(put.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID").await;
    let patch = registry.patch("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000").body(body);
    refused(patch.send().await.unwrap(), StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN").await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_no_half_blob() {
    let dir = TempDir::new().unwrap();
    let registry = Process::start_on_small_disk(dir.path(), "4m");
    let client = client();
    let base = format!("http://{}/v2/app/blobs", registry.addr);
    let push = |content: Vec<u8>| {
        let digest = sha256(&content);
        client.post(format!("{base}/uploads/?digest={digest}")).body(content).send()
    };
    let large = bytes(6_000_000, 1);
    let digest = sha256(&large);
    let error = refused(push(large).await.unwrap(), StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN").await;
    assert!(error["message"].as_str().unwrap().contains("disk is full"), "{error}");
    let head = client.head(format!("{base}/{digest}")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    // What the failed push had taken is free again.
    assert_eq!(push(bytes(3_000_000, 2)).await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn many_uploads_at_once() {
    let registry = Registry::start().await;
    let registry = &registry;
    let push = |seed: u8| async move {
        let content = bytes(200_000 + usize::from(seed), seed);
        // Half of them push the same.
        let content = if seed.is_multiple_of(2) { bytes(300_000, 0) } else { content };
        let digest = registry.push_blob("app", &content).await;
        let got = registry.get(&format!("/v2/app/blobs/{digest}")).send().await.unwrap();
        assert!(got.bytes().await.unwrap() == content);
    };
    futures::future::join_all((0..32).map(push)).await;
    assert_eq!(files(&registry.dir.path().join("store/uploads")), ["_keep"]);
}
