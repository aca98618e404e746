//! The errors that clients see: a status, and the distribution specification's JSON body with a code.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::manifest::ManifestError;
use crate::name::NameError;
use crate::route::RouteError;
use crate::storage::StorageError;

/// The error codes of the distribution specification, and those that clients know from Docker's
/// registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are explained in the specification")]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    SizeInvalid,
    TagInvalid,
    Denied,
    Unsupported,
    Unknown,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Code::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Code::ManifestInvalid => "MANIFEST_INVALID",
            Code::ManifestUnknown => "MANIFEST_UNKNOWN",
            Code::NameInvalid => "NAME_INVALID",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Code::SizeInvalid => "SIZE_INVALID",
            Code::TagInvalid => "TAG_INVALID",
            Code::Denied => "DENIED",
            Code::Unsupported => "UNSUPPORTED",
            Code::Unknown => "UNKNOWN",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Code::BlobUnknown | Code::BlobUploadUnknown | Code::ManifestUnknown | Code::NameUnknown => {
                StatusCode::NOT_FOUND
            }
            Code::Denied => StatusCode::FORBIDDEN,
            Code::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Code::BlobUploadInvalid
            | Code::DigestInvalid
            | Code::ManifestBlobUnknown
            | Code::ManifestInvalid
            | Code::NameInvalid
            | Code::PaginationNumberInvalid
            | Code::SizeInvalid
            | Code::TagInvalid => StatusCode::BAD_REQUEST,
        }
    }
}

/// The most missing blobs that one answer lists.
const MAX_DETAILS: usize = 20;

/// An error on its way to a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: Code,
    message: String,
    details: Vec<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// An error with its code's usual status.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (status, message) = (code.status(), message.into());
        ApiError { status, code, message, details: Vec::new(), headers: Vec::new() }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header; one that can't be sent is left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The answer to the client.
    pub fn into_response(self) -> Response {
        let entry = |detail: Option<Value>| json!({"code": self.code.as_str(), "message": self.message, "detail": detail});
        let mut errors: Vec<_> = self.details.iter().cloned().map(Some).map(entry).collect();
        if errors.is_empty() {
            errors.push(entry(None));
        }
        let mut response = Response::new(Body::from(json!({"errors": errors}).to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        let code = match error {
            RouteError::Unknown => {
                return ApiError::new(Code::Unsupported, error.to_string())
                    .with_status(StatusCode::NOT_FOUND);
            }
            RouteError::Name(_) => Code::NameInvalid,
            RouteError::Digest(_) => Code::DigestInvalid,
        };
        ApiError::new(code, error.to_string())
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::Repository => Code::NameInvalid,
            NameError::Reference => Code::TagInvalid,
        };
        ApiError::new(code, error.to_string())
    }
}

impl From<ManifestError> for ApiError {
    fn from(error: ManifestError) -> Self {
        ApiError::new(Code::ManifestInvalid, error.to_string())
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        let code = match &error {
            StorageError::BlobUnknown(_) => Code::BlobUnknown,
            StorageError::ManifestUnknown(_) => Code::ManifestUnknown,
            StorageError::NameUnknown(_) => Code::NameUnknown,
            StorageError::UploadUnknown => Code::BlobUploadUnknown,
            StorageError::OutOfOrder { .. } => {
                return ApiError::new(Code::BlobUploadInvalid, error.to_string())
                    .with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            }
            StorageError::ChunkSize { .. } | StorageError::DependencySize { .. } => Code::SizeInvalid,
            StorageError::TooLarge(_) => {
                return ApiError::new(Code::SizeInvalid, error.to_string())
                    .with_status(StatusCode::PAYLOAD_TOO_LARGE);
            }
            StorageError::TooManyChunks(_) | StorageError::Body(_) => Code::BlobUploadInvalid,
            StorageError::DigestMismatch { .. } => Code::DigestInvalid,
            StorageError::DependenciesMissing(missing) => {
                let mut api = ApiError::new(Code::ManifestBlobUnknown, error.to_string());
                api.details =
                    missing.iter().take(MAX_DETAILS).map(|d| json!({"digest": d.to_string()})).collect();
                return api;
            }
            StorageError::Damaged(_)
            | StorageError::Store(_)
            | StorageError::Io { .. }
            | StorageError::InUse(_) => {
                // The client learns no paths of this machine; who runs the registry finds them in its log.
                tracing::error!(%error, "request failed");
                return if is_full(&error) {
                    ApiError::new(
                        Code::Unknown,
                        "the registry's disk is full: free space or use another --data-dir",
                    )
                    .with_status(StatusCode::INSUFFICIENT_STORAGE)
                } else {
                    ApiError::new(Code::Unknown, "the registry's storage failed: its log says why")
                };
            }
        };
        ApiError::new(code, error.to_string())
    }
}

/// Says whether an error comes from a disk without room.
fn is_full(error: &StorageError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error {
        StorageError::Store(cause) => Some(cause),
        StorageError::Io { cause, .. } => Some(cause),
        _ => None,
    };
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            if matches!(io.kind(), StorageFull | QuotaExceeded) {
                return true;
            }
        }
        cause = error.source();
    }
    false
}
