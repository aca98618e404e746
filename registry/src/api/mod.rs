//! The distribution API over HTTP: from a request to its answer.

mod blobs;
mod body;
mod discovery;
mod manifests;
mod range;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Query;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Code};
use crate::route::{self, Route};
use crate::storage::Storage;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

type Answer = Result<Response, ApiError>;

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Where from.
    pub addr: SocketAddr,
    /// Whether the connection presented a certificate of the certificate authority that clients are
    /// checked against.
    pub has_certificate: bool,
}

/// The API on a store.
#[derive(Clone)]
pub struct Api {
    storage: Arc<Storage>,
    push_needs_certificate: bool,
}

impl Api {
    /// Serves `storage`; changes are refused to clients without a certificate if told so.
    pub fn new(storage: Arc<Storage>, push_needs_certificate: bool) -> Self {
        Api { storage, push_needs_certificate }
    }

    /// Answers a request.
    pub async fn handle(&self, client: Client, request: Request<Body>) -> Response {
        let started = Instant::now();
        let (parts, mut body) = request.into_parts();
        let mut response = match self.answer(client, &parts, &mut body).await {
            Ok(response) => response,
            Err(error) => {
                body::drain(&parts, &mut body).await;
                error.into_response()
            }
        };
        response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        if parts.method == Method::HEAD {
            strip_body(&mut response);
        }
        tracing::debug!(
            client = %client.addr,
            method = %parts.method,
            path = parts.uri.path(),
            status = response.status().as_u16(),
            ms = started.elapsed().as_millis(),
            "request"
        );
        response
    }

    async fn answer(&self, client: Client, parts: &Parts, body: &mut Body) -> Answer {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        if self.push_needs_certificate && !client.has_certificate && !reads {
            return Err(ApiError::new(
                Code::Denied,
                "this registry takes changes only from clients with a certificate of its certificate authority",
            ));
        }
        let storage = self.storage.as_ref();
        match (route::parse(parts.uri.path())?, &parts.method) {
            (Route::Version, &Method::GET | &Method::HEAD) => Ok(json_response(&serde_json::json!({}))),
            (Route::Version, _) => Err(not_allowed("GET, HEAD")),

            (Route::Catalog, &Method::GET) => discovery::catalog(storage, query(parts)?).await,
            (Route::Tags(repo), &Method::GET) => discovery::tags(storage, &repo, query(parts)?).await,
            (Route::Referrers(repo, subject), &Method::GET) => {
                discovery::referrers(storage, &repo, &subject, query(parts)?).await
            }
            (Route::Catalog | Route::Tags(_) | Route::Referrers(..), _) => Err(not_allowed("GET")),

            (Route::Manifest(repo, reference), &Method::GET | &Method::HEAD) => {
                manifests::get(storage, &repo, &reference).await
            }
            (Route::Manifest(repo, reference), &Method::PUT) => {
                manifests::put(storage, &repo, &reference, parts, body).await
            }
            (Route::Manifest(repo, reference), &Method::DELETE) => {
                manifests::delete(storage, &repo, &reference).await
            }
            (Route::Manifest(..), _) => Err(not_allowed("GET, HEAD, PUT, DELETE")),

            (Route::Blob(repo, digest), &Method::GET) => blobs::get(storage, &repo, &digest, parts).await,
            (Route::Blob(repo, digest), &Method::HEAD) => blobs::head(storage, &repo, &digest).await,
            (Route::Blob(repo, digest), &Method::DELETE) => blobs::delete(storage, &repo, &digest).await,
            (Route::Blob(..), _) => Err(not_allowed("GET, HEAD, DELETE")),

            (Route::Uploads(repo), &Method::POST) => {
                uploads::start(storage, &repo, query(parts)?, parts, body).await
            }
            (Route::Uploads(_), _) => Err(not_allowed("POST")),

            (Route::Upload(repo, id), &Method::GET | &Method::HEAD) => {
                uploads::status(storage, &repo, &id).await
            }
            (Route::Upload(repo, id), &Method::PATCH) => {
                uploads::append(storage, &repo, &id, parts, body).await
            }
            (Route::Upload(repo, id), &Method::PUT) => {
                uploads::finish(storage, &repo, &id, query(parts)?, parts, body).await
            }
            (Route::Upload(repo, id), &Method::DELETE) => uploads::cancel(storage, &repo, &id).await,
            (Route::Upload(..), _) => Err(not_allowed("GET, HEAD, PATCH, PUT, DELETE")),
        }
    }
}

fn not_allowed(allowed: &str) -> ApiError {
    ApiError::new(Code::Unsupported, format!("this endpoint answers only to {allowed}"))
        .with_header(ALLOW, allowed)
}

/// Reads the query part of a request's address.
fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T, ApiError> {
    Query::try_from_uri(&parts.uri).map(|Query(query)| query).map_err(|error| {
        ApiError::new(Code::Unsupported, error.to_string()).with_status(StatusCode::BAD_REQUEST)
    })
}

/// An answer with headers and no body.
fn empty<const N: usize>(status: StatusCode, headers: [(HeaderName, String); N]) -> Response {
    with_headers(status, headers, Body::empty())
}

fn with_headers<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
    body: Body,
) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        set_header(&mut response, name, value);
    }
    response
}

fn set_header(response: &mut Response, name: HeaderName, value: String) {
    let value = HeaderValue::try_from(value)
        .expect("checked names, digests, media types, numbers and escaped text are printable ASCII");
    response.headers_mut().insert(name, value);
}

fn json_response(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => with_headers(StatusCode::OK, [(CONTENT_TYPE, "application/json".into())], json.into()),
        Err(error) => ApiError::new(Code::Unknown, error.to_string()).into_response(),
    }
}

/// An answer to HEAD gives the length of the body that GET would have.
fn strip_body(response: &mut Response) {
    let length = response.body().size_hint().exact();
    if let Some(length) = length
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
}
