//! Finding out what there is: repositories, tags, referrers.

use axum::response::Response;
use http::header::{CONTENT_TYPE, LINK};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, FILTERS_APPLIED, json_response, set_header};
use crate::digest::Digest;
use crate::error::{ApiError, Code};
use crate::manifest::OCI_INDEX;
use crate::name::RepoName;
use crate::storage::{Page, Storage};

/// The most names in one answer, whatever the client asks for.
const MAX_PAGE: usize = 10_000;

#[derive(Deserialize)]
pub(super) struct PageQuery {
    n: Option<String>,
    last: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ReferrersQuery {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    last: Option<String>,
}

impl PageQuery {
    fn size(&self) -> Result<usize, ApiError> {
        let Some(text) = &self.n else { return Ok(MAX_PAGE) };
        match text.parse::<usize>() {
            Ok(n) => Ok(n.min(MAX_PAGE)),
            Err(_) => Err(ApiError::new(Code::PaginationNumberInvalid, "n has to be a number")),
        }
    }
}

pub(super) async fn catalog(storage: &Storage, query: PageQuery) -> Answer {
    let n = query.size()?;
    let page = storage.catalog(query.last.as_deref(), n).await?;
    Ok(linked(json_response(&json!({"repositories": page.names})), &page, "/v2/_catalog", n))
}

pub(super) async fn tags(storage: &Storage, repo: &RepoName, query: PageQuery) -> Answer {
    let n = query.size()?;
    let page = storage.tags(repo, query.last.as_deref(), n).await?;
    let response = json_response(&json!({"name": repo.as_str(), "tags": page.names}));
    Ok(linked(response, &page, &format!("/v2/{repo}/tags/list"), n))
}

/// Adds where the next page is. Names of repositories and tags need no escaping.
fn linked(mut response: Response, page: &Page, path: &str, n: usize) -> Response {
    if let (true, Some(last)) = (page.more, page.names.last()) {
        add_link(&mut response, &format!("{path}?n={n}&last={last}"));
    }
    response
}

fn add_link(response: &mut Response, address: &str) {
    set_header(response, LINK, format!("<{address}>; rel=\"next\""));
}

pub(super) async fn referrers(
    storage: &Storage,
    repo: &RepoName,
    subject: &Digest,
    query: ReferrersQuery,
) -> Answer {
    let last = match query.last.as_deref().map(str::parse::<Digest>) {
        None => None,
        Some(Ok(digest)) => Some(digest),
        Some(Err(error)) => return Err(ApiError::new(Code::DigestInvalid, error.to_string())),
    };
    let artifact_type = query.artifact_type.filter(|kind| !kind.is_empty());
    let page = storage.referrers(repo, subject, artifact_type.as_deref(), last.as_ref()).await?;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.referrers});
    let mut response = json_response(&index);
    set_header(&mut response, CONTENT_TYPE, OCI_INDEX.to_owned());
    let mut filter = String::new();
    if let Some(kind) = &artifact_type {
        set_header(&mut response, FILTERS_APPLIED, "artifactType".to_owned());
        filter = format!("&artifactType={}", utf8_percent_encode(kind, NON_ALPHANUMERIC));
    }
    if let Some(next) = page.next {
        add_link(&mut response, &format!("/v2/{repo}/referrers/{subject}?last={next}{filter}"));
    }
    Ok(response)
}
