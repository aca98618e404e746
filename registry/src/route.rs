//! Which resource a request path names. A repository name has any number of components, so a path is
//! read from its end.

use percent_encoding::percent_decode_str;

use crate::digest::{Digest, DigestError};
use crate::name::{NameError, RepoName};

/// A resource of the distribution API.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Version,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(RepoName),
    /// `/v2/NAME/manifests/REFERENCE`. The reference is left unchecked, because a bad one is merely
    /// not found when it is read, but an error when it is written.
    Manifest(RepoName, String),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(RepoName, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(RepoName),
    /// `/v2/NAME/blobs/uploads/ID`, with the id left unchecked.
    Upload(RepoName, String),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(RepoName, Digest),
}

/// Why a path names no resource.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    /// No endpoint has this form.
    #[error("no such endpoint")]
    Unknown,
    /// The repository name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest is invalid.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Reads the path of a request.
pub fn parse(path: &str) -> Result<Route, RouteError> {
    let path = percent_decode_str(path).decode_utf8().map_err(|_| RouteError::Unknown)?;
    let rest = match path.as_ref() {
        "/v2" | "/v2/" => return Ok(Route::Version),
        "/v2/_catalog" => return Ok(Route::Catalog),
        path => path.strip_prefix("/v2/").ok_or(RouteError::Unknown)?,
    };
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Route::Tags(name.parse()?));
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
        return Ok(Route::Uploads(name.parse()?));
    }
    let (parent, last) = rest.rsplit_once('/').ok_or(RouteError::Unknown)?;
    if let Some(name) = parent.strip_suffix("/blobs/uploads") {
        return Ok(Route::Upload(name.parse()?, last.to_owned()));
    }
    let (name, kind) = parent.rsplit_once('/').ok_or(RouteError::Unknown)?;
    match kind {
        "manifests" => Ok(Route::Manifest(name.parse()?, last.to_owned())),
        "blobs" => Ok(Route::Blob(name.parse()?, last.parse()?)),
        "referrers" => Ok(Route::Referrers(name.parse()?, last.parse()?)),
        _ => Err(RouteError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(name: &str) -> RepoName {
        name.parse().unwrap()
    }

    #[test]
    fn names_with_many_components_and_reserved_words() {
        assert_eq!(parse("/v2/"), Ok(Route::Version));
        assert_eq!(parse("/v2/_catalog"), Ok(Route::Catalog));
        assert_eq!(parse("/v2/a/b/c/tags/list"), Ok(Route::Tags(repo("a/b/c"))));
        assert_eq!(parse("/v2/a/manifests/v1"), Ok(Route::Manifest(repo("a"), "v1".into())));
        assert_eq!(parse("/v2/blobs/manifests/blobs"), Ok(Route::Manifest(repo("blobs"), "blobs".into())));
        assert_eq!(parse("/v2/a/blobs/uploads/"), Ok(Route::Uploads(repo("a"))));
        assert_eq!(parse("/v2/a/blobs/uploads"), Ok(Route::Uploads(repo("a"))));
        assert_eq!(parse("/v2/a/b/blobs/uploads/x"), Ok(Route::Upload(repo("a/b"), "x".into())));
        let digest = format!("sha256:{}", "0".repeat(64));
        let escaped = digest.replace(':', "%3A");
        assert_eq!(
            parse(&format!("/v2/a/blobs/{escaped}")),
            Ok(Route::Blob(repo("a"), digest.parse().unwrap()))
        );
        assert_eq!(
            parse(&format!("/v2/a/referrers/{digest}")),
            Ok(Route::Referrers(repo("a"), digest.parse().unwrap()))
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for path in ["", "/", "/v1/", "/v2/a", "/v2/a/b/c", "/v2/manifests/x", "/v2/%ff/tags/list"] {
            assert_eq!(parse(path), Err(RouteError::Unknown), "{path}");
        }
        for path in ["/v2/../tags/list", "/v2/A/manifests/x", "/v2/a/%2e%2e/manifests/x", "/v2//manifests/x"]
        {
            assert!(matches!(parse(path), Err(RouteError::Name(_))), "{path}");
        }
        assert!(matches!(parse("/v2/a/blobs/sha256:xyz"), Err(RouteError::Digest(_))));
    }
}
