//! Pushing blobs in every way the specification has.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime};

use reqwest::{Body, StatusCode};
use tempfile::TempDir;
use wharf_registry::{Limits, Settings, Storage};

use crate::support::{Registry, bytes, files, header, refused, settings, sha256, sha512};

#[tokio::test]
async fn in_one_request() {
    let registry = Registry::start().await;
    for digest in [sha256, sha512] {
        let content = bytes(3_000_000, 1);
        let digest = digest(&content);
        let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
        let response = registry.post(&path).body(content.clone()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(header(&response, "docker-content-digest"), digest);
        let location = header(&response, "location");
        assert_eq!(location, format!("/v2/team/app/blobs/{digest}"));
        let got = registry.get(&location).send().await.unwrap().bytes().await.unwrap();
        assert!(got == content);
    }
    assert_eq!(files(&registry.dir.path().join("store/uploads")), ["_keep"]);
}

#[tokio::test]
async fn in_two_requests() {
    let registry = Registry::start().await;
    let content = bytes(100_000, 2);
    let upload = registry.begin("app").await;
    let put = registry.put(&format!("{upload}?digest={}", sha256(&content)));
    let response = put.body(content.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let got = registry.get(&header(&response, "location")).send().await.unwrap();
    assert!(got.bytes().await.unwrap() == content);
}

#[tokio::test]
async fn in_chunks_that_have_to_be_in_order() {
    let registry = Registry::start().await;
    let content = bytes(2_500_000, 3);
    let upload = registry.begin("app").await;
    let chunk = |from: usize, to: usize| {
        registry
            .patch(&upload)
            .header("content-range", format!("{from}-{}", to - 1))
            .body(content[from..to].to_vec())
    };

    let response = chunk(0, 1_000_000).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&response, "range"), "0-999999");
    assert_eq!(header(&response, "location"), upload);

    // Too far on, and once more what is there already.
    for (from, to) in [(1_500_000, 2_000_000), (0, 1_000_000)] {
        let response = chunk(from, to).send().await.unwrap();
        assert_eq!(header(&response, "range"), "0-999999");
        refused(response, StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").await;
    }
    let status = registry.get(&upload).send().await.unwrap();
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&status, "range"), "0-999999");

    assert_eq!(chunk(1_000_000, 2_000_000).send().await.unwrap().status(), StatusCode::ACCEPTED);
    let last = registry
        .put(&format!("{upload}?digest={}", sha256(&content)))
        .header("content-range", "2000000-2499999")
        .body(content[2_000_000..].to_vec());
    let response = last.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let got = registry.get(&header(&response, "location")).send().await.unwrap();
    assert!(got.bytes().await.unwrap() == content);
    assert_eq!(registry.status(&upload).await, StatusCode::NOT_FOUND);
    assert_eq!(files(&registry.dir.path().join("store/uploads")), ["_keep"]);
}

#[tokio::test]
async fn as_a_stream_of_unknown_length() {
    let registry = Registry::start().await;
    let content = bytes(1_000_000, 4);
    let upload = registry.begin("app").await;
    let pieces: Vec<_> =
        content.chunks(70_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let body = Body::wrap_stream(futures::stream::iter(pieces));
    let response = registry.patch(&upload).body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&response, "range"), "0-999999");
    let done = registry.put(&format!("{upload}?digest={}", sha256(&content))).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn of_nothing() {
    let registry = Registry::start().await;
    let upload = registry.begin("app").await;
    assert_eq!(header(&registry.get(&upload).send().await.unwrap(), "range"), "0-0");
    let empty = sha256(b"");
    let done = registry.put(&format!("{upload}?digest={empty}")).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED);
    let got = registry.get(&format!("/v2/app/blobs/{empty}")).send().await.unwrap();
    assert_eq!(got.content_length(), Some(0));
}

#[tokio::test]
async fn with_the_wrong_digest_leaves_nothing() {
    let registry = Registry::start().await;
    let (content, wrong) = (bytes(10_000, 5), sha256(b"something else"));
    let upload = registry.begin("app").await;
    let put = registry.put(&format!("{upload}?digest={wrong}")).body(content.clone());
    refused(put.send().await.unwrap(), StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
    assert_eq!(registry.status(&upload).await, StatusCode::NOT_FOUND);

    let post = registry.post(&format!("/v2/app/blobs/uploads/?digest={wrong}")).body(content.clone());
    refused(post.send().await.unwrap(), StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;

    let upload = registry.begin("app").await;
    registry.patch(&upload).body(content[..5000].to_vec()).send().await.unwrap();
    registry.patch(&upload).body(content[5000..].to_vec()).send().await.unwrap();
    let put = registry.put(&format!("{upload}?digest={wrong}"));
    refused(put.send().await.unwrap(), StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;

    for digest in [wrong, sha256(&content)] {
        assert_eq!(registry.status(&format!("/v2/app/blobs/{digest}")).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(files(&registry.dir.path().join("store")), ["_layout", "uploads/_keep"]);
}

#[tokio::test]
async fn with_malformed_digests_ranges_and_ids() {
    let registry = Registry::start().await;
    let upload = registry.begin("app").await;
    let put = registry.put(&upload).body("x");
    refused(put.send().await.unwrap(), StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
    for digest in ["md5:00", "sha256:xyz", "", "../../x"] {
        let put = registry.put(&upload).query(&[("digest", digest)]).body("x");
        refused(put.send().await.unwrap(), StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
        let post = registry.post("/v2/app/blobs/uploads/").query(&[("digest", digest)]).body("x");
        refused(post.send().await.unwrap(), StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
    }
    let patch = registry.patch(&upload).header("content-range", "x-y").body("abc");
    refused(patch.send().await.unwrap(), StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").await;
    let patch = registry.patch(&upload).header("content-range", "0-9").body("abc");
    refused(patch.send().await.unwrap(), StatusCode::BAD_REQUEST, "SIZE_INVALID").await;
    for id in ["x", "00000000-0000-0000-0000-000000000000", "..%2f..%2frepos"] {
        let patch = registry.patch(&format!("/v2/app/blobs/uploads/{id}")).body("abc");
        let status = patch.send().await.unwrap().status();
        assert!(status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST, "{id}: {status}");
    }
    // An upload belongs to the repository that it was begun in.
    let elsewhere = upload.replace("/v2/app/", "/v2/other/");
    let patch = registry.patch(&elsewhere).body("abc");
    refused(patch.send().await.unwrap(), StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN").await;
    assert_eq!(header(&registry.get(&upload).send().await.unwrap(), "range"), "0-0");
}

#[tokio::test]
async fn can_be_cancelled() {
    let registry = Registry::start().await;
    let upload = registry.begin("app").await;
    registry.patch(&upload).body(bytes(5000, 6)).send().await.unwrap();
    assert_eq!(registry.delete(&upload).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let again = registry.delete(&upload).send().await.unwrap();
    refused(again, StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN").await;
    assert_eq!(files(&registry.dir.path().join("store/uploads")), ["_keep"]);
}

#[tokio::test]
async fn can_be_taken_from_another_repository() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("one", b"shared").await;
    let mount =
        |to: &str, from: &str| registry.post(&format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}"));
    let response = mount("two", "one").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(header(&response, "location"), format!("/v2/two/blobs/{digest}"));
    assert_eq!(registry.status(&format!("/v2/two/blobs/{digest}")).await, StatusCode::OK);

    // Not there: an upload begins instead.
    let response = mount("three", "nowhere").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert!(header(&response, "location").starts_with("/v2/three/blobs/uploads/"));
    assert_eq!(registry.status(&format!("/v2/three/blobs/{digest}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_two_chunks_at_one_place_one_wins() {
    let registry = Registry::start().await;
    let upload = registry.begin("app").await;
    let (a, b) = (bytes(400_000, 7), bytes(400_000, 8));
    let (first, second) = tokio::join!(
        registry.patch(&upload).body(a.clone()).send(),
        registry.patch(&upload).body(b.clone()).send()
    );
    let statuses = [first.unwrap().status(), second.unwrap().status()];
    let size = header(&registry.get(&upload).send().await.unwrap(), "range");
    match statuses {
        // One after the other.
        [StatusCode::ACCEPTED, StatusCode::ACCEPTED] => assert_eq!(size, "0-799999"),
        [StatusCode::ACCEPTED, StatusCode::RANGE_NOT_SATISFIABLE]
        | [StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::ACCEPTED] => assert_eq!(size, "0-399999"),
        other => panic!("{other:?}"),
    }
    let whole = match statuses {
        [StatusCode::ACCEPTED, StatusCode::RANGE_NOT_SATISFIABLE] => a,
        [StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::ACCEPTED] => b,
        _ => return,
    };
    let done = registry.put(&format!("{upload}?digest={}", sha256(&whole))).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn goes_on_after_a_restart() {
    let registry = Registry::start().await;
    let content = bytes(50_000, 9);
    let upload = registry.begin("app").await;
    registry.patch(&upload).body(content[..20_000].to_vec()).send().await.unwrap();
    let registry = registry.restart().await;
    assert_eq!(header(&registry.get(&upload).send().await.unwrap(), "range"), "0-19999");
    let put = registry.put(&format!("{upload}?digest={}", sha256(&content))).body(content[20_000..].to_vec());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn cut_off_in_the_middle_of_a_chunk_keeps_only_whole_chunks() {
    let registry = Registry::start().await;
    let upload = registry.begin("app").await;
    registry.patch(&upload).body("whole").send().await.unwrap();
    let addr = registry.addr;
    let head = format!("PATCH {upload} HTTP/1.1\r\nhost: {addr}\r\ncontent-length: 3000000\r\n\r\n");
    tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(addr).unwrap();
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(&bytes(2_000_000, 10)).unwrap();
        connection.shutdown(Shutdown::Both).unwrap();
    })
    .await
    .unwrap();
    assert_eq!(header(&registry.get(&upload).send().await.unwrap(), "range"), "0-4");
    let folder = registry.dir.path().join("store/uploads");
    let registry_is_clean = move || {
        crate::support::wait_until("the broken chunk is gone", || {
            files(&folder).iter().all(|name| !name.contains("incoming"))
        });
    };
    tokio::task::spawn_blocking(registry_is_clean).await.unwrap();
    let put = registry.put(&format!("{upload}?digest={}", sha256(b"whole")));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn stays_within_the_largest_size() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { max_blob: 10_000, ..Limits::default() };
    let settings = Settings { limits, ..settings(dir.path()) };
    let registry = Registry::start_with(dir, settings).await;
    let upload = registry.begin("app").await;
    let patch = registry.patch(&upload).body(bytes(10_001, 11));
    refused(patch.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID").await;
    let pieces = [12, 13].map(|seed| Ok::<_, std::io::Error>(bytes(6000, seed)));
    let patch = registry.patch(&upload).body(Body::wrap_stream(futures::stream::iter(pieces)));
    refused(patch.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID").await;
    assert_eq!(
        registry.patch(&upload).body(bytes(6000, 13)).send().await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    let patch = registry.patch(&upload).body(bytes(6000, 14));
    refused(patch.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID").await;
    assert_eq!(
        registry.patch(&upload).body(bytes(4000, 13)).send().await.unwrap().status(),
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn left_alone_for_long_is_thrown_away() {
    let registry = Registry::start().await;
    let upload = registry.begin("app").await;
    registry.patch(&upload).body(bytes(5000, 15)).send().await.unwrap();
    let dir = registry.stop().await;
    let storage = Storage::open(dir.path(), Limits::default()).unwrap();
    let in_hours = |hours: u64| SystemTime::now() + Duration::from_secs(hours * 3600);
    assert_eq!(storage.purge_uploads(in_hours(23)).await.unwrap(), 0);
    assert_eq!(storage.purge_uploads(in_hours(25)).await.unwrap(), 1);
    drop(storage);
    assert_eq!(files(&dir.path().join("store/uploads")), ["_keep"]);
    let settings = settings(dir.path());
    let registry = Registry::start_with(dir, settings).await;
    assert_eq!(registry.status(&upload).await, StatusCode::NOT_FOUND);
}
