//! Pushing blobs: in one request, in two, or in chunks; or taking them from another repository.

use axum::body::Body;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::request::Parts;
use serde::Deserialize;

use super::{Answer, CONTENT_DIGEST, UPLOAD_UUID, body, empty, range};
use crate::digest::Digest;
use crate::error::{ApiError, Code};
use crate::name::RepoName;
use crate::storage::{Chunk, Storage, StorageError, UploadId};

#[derive(Deserialize)]
pub(super) struct StartQuery {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct FinishQuery {
    digest: Option<String>,
}

pub(super) async fn start(
    storage: &Storage,
    repo: &RepoName,
    query: StartQuery,
    parts: &Parts,
    body: &mut Body,
) -> Answer {
    if let (Some(mount), Some(from)) = (&query.mount, &query.from) {
        let (digest, from) = (digest(mount)?, from.parse()?);
        if storage.mount_blob(&from, repo, &digest).await? {
            return Ok(created(repo, &digest));
        }
    }
    let Some(wanted) = query.digest else {
        let id = storage.begin_upload(repo).await?;
        return Ok(accepted(StatusCode::ACCEPTED, repo, id, 0));
    };
    let wanted = digest(&wanted)?;
    let chunk = chunk(parts)?;
    let id = storage.begin_upload(repo).await?;
    let pushed = match storage.append(repo, id, chunk, body::stream(body)).await {
        Ok(_) => storage.finish_upload(repo, id, &wanted).await,
        Err(error) => Err(error),
    };
    match pushed {
        Ok(()) => Ok(created(repo, &wanted)),
        Err(error) => {
            // The client never learnt the upload's name, so nobody could go on with it.
            match storage.cancel_upload(repo, id).await {
                Ok(()) | Err(StorageError::UploadUnknown) => {}
                Err(error) => tracing::warn!(%id, %error, "could not remove a failed upload"),
            }
            Err(error.into())
        }
    }
}

pub(super) async fn status(storage: &Storage, repo: &RepoName, id: &str) -> Answer {
    let id = UploadId::parse(id)?;
    let size = storage.upload_size(repo, id).await?;
    Ok(accepted(StatusCode::NO_CONTENT, repo, id, size))
}

pub(super) async fn append(
    storage: &Storage,
    repo: &RepoName,
    id: &str,
    parts: &Parts,
    body: &mut Body,
) -> Answer {
    let id = UploadId::parse(id)?;
    let chunk = chunk(parts)?;
    match storage.append(repo, id, chunk, body::stream(body)).await {
        Ok(size) => Ok(accepted(StatusCode::ACCEPTED, repo, id, size)),
        Err(error) => Err(out_of_order(error, repo, id)),
    }
}

pub(super) async fn finish(
    storage: &Storage,
    repo: &RepoName,
    id: &str,
    query: FinishQuery,
    parts: &Parts,
    body: &mut Body,
) -> Answer {
    let id = UploadId::parse(id)?;
    let text = query.digest.ok_or_else(|| {
        ApiError::new(Code::DigestInvalid, "to finish an upload, give its digest as ?digest=ALGORITHM:HEX")
    })?;
    let digest = digest(&text)?;
    let chunk = chunk(parts)?;
    if let Err(error) = storage.append(repo, id, chunk, body::stream(body)).await {
        return Err(out_of_order(error, repo, id));
    }
    storage.finish_upload(repo, id, &digest).await?;
    Ok(created(repo, &digest))
}

pub(super) async fn cancel(storage: &Storage, repo: &RepoName, id: &str) -> Answer {
    storage.cancel_upload(repo, UploadId::parse(id)?).await?;
    Ok(empty(StatusCode::NO_CONTENT, []))
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse::<Digest>().map_err(|error| ApiError::new(Code::DigestInvalid, error.to_string()))
}

/// What the headers say of the body. A final request without a body has no chunk, whatever it says.
fn chunk(parts: &Parts) -> Result<Chunk, ApiError> {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    if length == Some(0) || !parts.headers.contains_key(CONTENT_RANGE) {
        return Ok(Chunk { offset: None, length });
    }
    let (offset, in_range) = header(CONTENT_RANGE).and_then(range::content_range).ok_or_else(|| {
        ApiError::new(Code::BlobUploadInvalid, "a chunk's Content-Range has the form FIRST-LAST")
            .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
    })?;
    match length {
        Some(got) if got != in_range => Err(StorageError::ChunkSize { declared: in_range, got }.into()),
        _ => Ok(Chunk { offset: Some(offset), length: Some(in_range) }),
    }
}

fn location(repo: &RepoName, id: UploadId) -> String {
    format!("/v2/{repo}/blobs/uploads/{id}")
}

/// The bytes there are, both ends included. There is no such form for none, so that is `0-0`.
fn held(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn accepted(status: StatusCode, repo: &RepoName, id: UploadId, size: u64) -> axum::response::Response {
    let headers = [(LOCATION, location(repo, id)), (RANGE, held(size)), (UPLOAD_UUID, id.to_string())];
    empty(status, headers)
}

fn created(repo: &RepoName, digest: &Digest) -> axum::response::Response {
    let location = format!("/v2/{repo}/blobs/{digest}");
    empty(StatusCode::CREATED, [(LOCATION, location), (CONTENT_DIGEST, digest.to_string())])
}

/// A client that lost count learns where to go on.
fn out_of_order(error: StorageError, repo: &RepoName, id: UploadId) -> ApiError {
    match error {
        StorageError::OutOfOrder { have } => ApiError::from(error)
            .with_header(LOCATION, &location(repo, id))
            .with_header(RANGE, &held(have))
            .with_header(UPLOAD_UUID, &id.to_string()),
        error => error.into(),
    }
}
