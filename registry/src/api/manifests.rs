//! Reading, pushing and deleting manifests.

use axum::body::Body;
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;

use super::{Answer, CONTENT_DIGEST, SUBJECT, body, empty, set_header, with_headers};
use crate::digest::{Algorithm, Digest};
use crate::error::{ApiError, Code};
use crate::manifest::{MAX_MANIFEST, Manifest};
use crate::name::{Reference, RepoName};
use crate::storage::Storage;

pub(super) async fn get(storage: &Storage, repo: &RepoName, reference: &str) -> Answer {
    let stored = storage.manifest(repo, &existing(reference)?).await?;
    Ok(with_headers(
        StatusCode::OK,
        [(CONTENT_TYPE, stored.media_type), (CONTENT_DIGEST, stored.digest.to_string())],
        stored.content.into(),
    ))
}

pub(super) async fn put(
    storage: &Storage,
    repo: &RepoName,
    reference: &str,
    parts: &Parts,
    body: &mut Body,
) -> Answer {
    let reference: Reference = reference.parse()?;
    let content = body::read(body, MAX_MANIFEST).await?.ok_or_else(|| {
        let message = format!("the manifest has more than {MAX_MANIFEST} bytes");
        ApiError::new(Code::ManifestInvalid, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    })?;
    let (digest, tag) = match &reference {
        Reference::Tag(tag) => (Digest::of(Algorithm::Sha256, &content), Some(tag)),
        Reference::Digest(wanted) => {
            let got = Digest::of(wanted.algorithm(), &content);
            if got != *wanted {
                let message = format!("the manifest has the digest {got}, not {wanted}");
                return Err(ApiError::new(Code::DigestInvalid, message));
            }
            (got, None)
        }
    };
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let manifest = Manifest::parse(&content, content_type)?;
    storage.put_manifest(repo, &manifest, content, &digest, tag).await?;
    let location = format!("/v2/{repo}/manifests/{digest}");
    let headers = [(LOCATION, location), (CONTENT_DIGEST, digest.to_string())];
    let mut response = empty(StatusCode::CREATED, headers);
    if let Some(subject) = manifest.subject {
        // Tells the client that the referrers API takes care of the rest.
        set_header(&mut response, SUBJECT, subject.to_string());
    }
    Ok(response)
}

pub(super) async fn delete(storage: &Storage, repo: &RepoName, reference: &str) -> Answer {
    storage.delete_manifest(repo, &existing(reference)?).await?;
    Ok(empty(StatusCode::ACCEPTED, []))
}

/// Under a reference that is not even well formed there can't be anything.
fn existing(reference: &str) -> Result<Reference, ApiError> {
    reference.parse().map_err(|error: crate::name::NameError| {
        ApiError::new(Code::ManifestUnknown, format!("there is no such manifest: {error}"))
    })
}
