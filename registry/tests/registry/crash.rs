//! `kill -9` in the middle of a push.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::support::{Process, bytes, client, files, header, refused, sha256, wait_until};

fn staged(dir: &Path) -> Vec<String> {
    files(&dir.join("store")).into_iter().filter(|name| name.contains('#')).collect()
}

#[tokio::test]
async fn in_a_chunk_leaves_no_half_blob() {
    let dir = TempDir::new().unwrap();
    let registry = Process::start(dir.path(), &[]);
    let client = client();
    let content = bytes(6_000_000, 1);
    let digest = sha256(&content);
    let url = |registry: &Process, path: &str| format!("http://{}{path}", registry.addr);

    let begun = client.post(url(&registry, "/v2/app/blobs/uploads/")).send().await.unwrap();
    let upload = header(&begun, "location");
    let first = client.patch(url(&registry, &upload)).body(content[..2_000_000].to_vec());
    assert_eq!(first.send().await.unwrap().status(), StatusCode::ACCEPTED);

    // Half of the second chunk, and then no more.
    let mut connection = TcpStream::connect(registry.addr).unwrap();
    let length = content.len() - 2_000_000;
    write!(connection, "PATCH {upload} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").unwrap();
    connection.write_all(&content[2_000_000..4_500_000]).unwrap();
    let held = |dir: &Path| {
        let size = |name: &String| std::fs::metadata(dir.join("store").join(name)).map_or(0, |m| m.len());
        staged(dir).iter().map(size).sum::<u64>()
    };
    let data_dir = dir.path().to_owned();
    tokio::task::spawn_blocking(move || {
        wait_until("the registry has written a part of the chunk", || held(&data_dir) >= 1_000_000);
    })
    .await
    .unwrap();
    registry.kill();
    drop(connection);
    assert_eq!(staged(dir.path()).len(), 1);

    let registry = Process::start(dir.path(), &[]);
    assert_eq!(staged(dir.path()), [""; 0], "what the killed process left is removed");
    let blob = url(&registry, &format!("/v2/app/blobs/{digest}"));
    assert_eq!(client.head(&blob).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let status = client.get(url(&registry, &upload)).send().await.unwrap();
    assert_eq!(header(&status, "range"), "0-1999999", "only the whole chunk counts");
    // Where the client believes that it was is not where the upload is.
    let wrong = client
        .patch(url(&registry, &upload))
        .header("content-range", "4500000-5999999")
        .body(content[4_500_000..].to_vec());
    refused(wrong.send().await.unwrap(), StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").await;

    let rest = client
        .put(url(&registry, &format!("{upload}?digest={digest}")))
        .header("content-range", "2000000-5999999")
        .body(content[2_000_000..].to_vec());
    assert_eq!(rest.send().await.unwrap().status(), StatusCode::CREATED);
    assert!(client.get(&blob).send().await.unwrap().bytes().await.unwrap() == content);
    assert!(registry.terminate());
}

#[tokio::test]
async fn an_upload_cut_short_can_t_be_finished() {
    let dir = TempDir::new().unwrap();
    let registry = Process::start(dir.path(), &[]);
    let client = client();
    let content = bytes(100_000, 2);
    let begun = client.post(format!("http://{}/v2/app/blobs/uploads/", registry.addr)).send().await.unwrap();
    let upload = header(&begun, "location");
    let first = client.patch(format!("http://{}{upload}", registry.addr)).body(content[..50_000].to_vec());
    assert_eq!(first.send().await.unwrap().status(), StatusCode::ACCEPTED);
    registry.kill();
    let registry = Process::start(dir.path(), &[]);
    let digest = sha256(&content);
    let put = client.put(format!("http://{}{upload}?digest={digest}", registry.addr)).send().await.unwrap();
    refused(put, StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
    let blob = format!("http://{}/v2/app/blobs/{digest}", registry.addr);
    assert_eq!(client.get(blob).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn at_any_moment_leaves_a_whole_blob_or_none() {
    let dir = TempDir::new().unwrap();
    let client = client();
    let content = bytes(4_000_000, 3);
    let digest = sha256(&content);
    for round in 0..12 {
        let registry = Process::start(dir.path(), &[]);
        let base = format!("http://{}/v2/app{round}/blobs", registry.addr);
        let push = client.post(format!("{base}/uploads/?digest={digest}")).body(content.clone()).send();
        let push = tokio::spawn(push);
        // No moment is the right one: whenever the kill comes, what is checked below has to hold.
        tokio::time::sleep(Duration::from_millis(round * 15)).await;
        tokio::task::spawn_blocking(move || registry.kill()).await.unwrap();
        let acknowledged = push.await.unwrap().is_ok_and(|answer| answer.status() == StatusCode::CREATED);

        let registry = Process::start(dir.path(), &[]);
        let base = format!("http://{}/v2/app{round}/blobs", registry.addr);
        let got = client.get(format!("{base}/{digest}")).send().await.unwrap();
        match got.status() {
            StatusCode::OK => assert!(got.bytes().await.unwrap() == content, "round {round}"),
            StatusCode::NOT_FOUND => assert!(!acknowledged, "round {round}: an acknowledged blob is lost"),
            other => panic!("round {round}: {other}"),
        }
        let again = client.post(format!("{base}/uploads/?digest={digest}")).body(content.clone()).send();
        assert_eq!(again.await.unwrap().status(), StatusCode::CREATED, "round {round}");
    }
}
