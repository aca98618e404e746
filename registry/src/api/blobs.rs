//! Reading and deleting blobs.

use axum::body::Body;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::request::Parts;

use super::range::{Asked, asked};
use super::{Answer, CONTENT_DIGEST, empty, set_header, with_headers};
use crate::digest::Digest;
use crate::error::{ApiError, Code};
use crate::name::RepoName;
use crate::storage::Storage;

const OCTETS: &str = "application/octet-stream";

pub(super) async fn get(storage: &Storage, repo: &RepoName, digest: &Digest, parts: &Parts) -> Answer {
    let size = storage.blob_size(repo, digest).await?;
    let range = match asked(parts.headers.get(RANGE).and_then(|value| value.to_str().ok()), size) {
        Asked::All => None,
        Asked::Part(range) => Some(range),
        Asked::Unsatisfiable => {
            return Err(ApiError::new(Code::SizeInvalid, format!("the blob has {size} bytes"))
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
                .with_header(CONTENT_RANGE, &format!("bytes */{size}")));
        }
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let blob = storage.blob(repo, digest, range).await?;
    let mut response = with_headers(
        status,
        [
            (CONTENT_TYPE, OCTETS.into()),
            (CONTENT_LENGTH, (blob.range.end - blob.range.start).to_string()),
            (ACCEPT_RANGES, "bytes".into()),
            (CONTENT_DIGEST, digest.to_string()),
        ],
        Body::from_stream(blob.bytes),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let value = format!("bytes {}-{}/{size}", blob.range.start, blob.range.end - 1);
        set_header(&mut response, CONTENT_RANGE, value);
    }
    Ok(response)
}

pub(super) async fn head(storage: &Storage, repo: &RepoName, digest: &Digest) -> Answer {
    let size = storage.blob_size(repo, digest).await?;
    Ok(empty(
        StatusCode::OK,
        [
            (CONTENT_TYPE, OCTETS.into()),
            (CONTENT_LENGTH, size.to_string()),
            (ACCEPT_RANGES, "bytes".into()),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    ))
}

pub(super) async fn delete(storage: &Storage, repo: &RepoName, digest: &Digest) -> Answer {
    storage.delete_blob(repo, digest).await?;
    Ok(empty(StatusCode::ACCEPTED, []))
}
