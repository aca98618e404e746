//! Image names, read as Docker reads them: `nginx` is `docker.io/library/nginx:latest`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::digest::{Digest, DigestError};

const DEFAULT_REGISTRY: &str = "docker.io";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
/// Name, tag and the longest digest, with their separators.
const MAX_TOTAL: usize = 2 * MAX_NAME + MAX_TAG + 140;

/// A full image name: registry, repository, and a tag or digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageNameError {
    /// Nothing there.
    #[error("an image name is missing")]
    Empty,
    /// Longer than any registry takes.
    #[error("the image name is too long, at most {MAX_NAME} characters are allowed")]
    TooLong,
    /// The part before the first slash is no host.
    #[error("{0:?} is not a registry's HOST or HOST:PORT")]
    BadRegistry(String),
    /// Upper-case letters, as in `Nginx`.
    #[error("the repository name {0:?} must be lower case")]
    UpperCase(String),
    /// Anything else wrong with the repository.
    #[error(
        "{0:?} is not a repository name: it takes lower-case letters and digits, separated by '.', '_', '-' or '/'"
    )]
    BadRepository(String),
    /// The part after the colon.
    #[error(
        "{0:?} is not a tag: it takes up to {MAX_TAG} letters, digits, '_', '.' and '-', and starts with none of the last two"
    )]
    BadTag(String),
    /// The part after the at sign.
    #[error("bad digest in the image name: {0}")]
    BadDigest(DigestError),
}

impl ImageName {
    /// `docker.io`, `registry.example.com`, `10.0.0.1:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/nginx`, `team/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one; a name has `latest` when it has neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the name is pinned to one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What stands after `/manifests/` in a registry's URL: the digest if there is one, else the tag.
    pub fn manifest_reference(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same repository pinned to `digest`; a tag stays, for people.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        ImageName { digest: Some(digest), ..self.clone() }
    }

    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ImageNameError> {
        Ok(ImageName { tag: Some(check_tag(tag)?.to_owned()), digest: None, ..self.clone() })
    }

    /// As short as Docker shows it: without `docker.io/library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
            None => full,
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        if text.is_empty() {
            return Err(ImageNameError::Empty);
        }
        if text.len() > MAX_TOTAL {
            return Err(ImageNameError::TooLong);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ImageNameError::BadDigest)?)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to a port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].split_once(':') {
            Some((last, tag)) => (&rest[..name_end + last.len()], Some(check_tag(tag)?.to_owned())),
            None => (rest, None),
        };
        let (registry, path) = split_registry(name);
        let registry = match registry {
            Some(host) => check_registry(host)?,
            None => DEFAULT_REGISTRY,
        };
        check_repository(path)?;
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if repository.len() > MAX_NAME || registry.len() > MAX_NAME {
            return Err(ImageNameError::TooLong);
        }
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        Ok(ImageName { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Docker's rule: the first component is a registry if it could not be a plain word.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_registry(host: &str) -> Result<&str, ImageNameError> {
    let bad = || ImageNameError::BadRegistry(host.to_owned());
    if host == "index.docker.io" || host == "registry-1.docker.io" {
        return Ok(DEFAULT_REGISTRY);
    }
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(bad)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
        match port {
            "" => (None, None),
            _ => (None, Some(port.strip_prefix(':').ok_or_else(bad)?)),
        }
    } else {
        match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        }
    };
    if let Some(port) = port
        && (!port.bytes().all(|b| b.is_ascii_digit()) || !matches!(port.parse::<u16>(), Ok(1..)))
    {
        return Err(bad());
    }
    if let Some(name) = name {
        let label_ok = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !name.split('.').all(label_ok) {
            return Err(bad());
        }
    }
    Ok(host)
}

/// Checks a repository name by the distribution spec's grammar.
pub fn check_repository(path: &str) -> Result<(), ImageNameError> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ImageNameError::UpperCase(path.to_owned()));
    }
    if path.len() > MAX_NAME {
        return Err(ImageNameError::TooLong);
    }
    if path.split('/').all(component_ok) {
        Ok(())
    } else {
        Err(ImageNameError::BadRepository(path.to_owned()))
    }
}

/// Letters and digits in runs, between them one `.`, one or two `_`, or any number of `-`.
fn component_ok(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let edges_ok =
        matches!((bytes.first(), bytes.last()), (Some(&a), Some(&b)) if alphanumeric(a) && alphanumeric(b));
    edges_ok
        && bytes
            .split(|&b| alphanumeric(b))
            .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

/// Checks a tag by the distribution spec's grammar.
pub fn check_tag(tag: &str) -> Result<&str, ImageNameError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let ok = matches!(tag.bytes().next(), Some(first) if word(first))
        && tag.len() <= MAX_TAG
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if ok { Ok(tag) } else { Err(ImageNameError::BadTag(tag.chars().take(MAX_TAG + 1).collect())) }
}

impl Serialize for ImageName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_names_as_docker_does() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, full) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.25", "docker.io/library/nginx:1.25".to_owned()),
            ("team/app", "docker.io/team/app:latest".to_owned()),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app:v1", "localhost:5000/app:v1".to_owned()),
            ("10.0.0.1:5000/a/b/c", "10.0.0.1:5000/a/b/c:latest".to_owned()),
            ("[::1]:5000/app", "[::1]:5000/app:latest".to_owned()),
            ("test.com:5000", "docker.io/library/test.com:5000".to_owned()),
            ("a--b__c.d", "docker.io/library/a--b__c.d:latest".to_owned()),
            (&format!("app@{digest}"), format!("docker.io/library/app@{digest}")),
            (&format!("r.io/app:v1@{digest}"), format!("r.io/app:v1@{digest}")),
        ] {
            let name: ImageName = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(name.to_string(), full, "{text}");
            assert_eq!(full.parse::<ImageName>().unwrap(), name, "{text} reads back");
        }
    }

    #[test]
    fn refuses_bad_names_with_the_right_reason() {
        use ImageNameError as E;
        let err = |text: &str| text.parse::<ImageName>().unwrap_err();
        assert_eq!(err(""), E::Empty);
        assert!(matches!(err("Nginx"), E::UpperCase(_)));
        assert!(matches!(err("nginx:"), E::BadTag(_)));
        assert!(matches!(err("nginx:-x"), E::BadTag(_)));
        assert!(matches!(err("nginx:tüv"), E::BadTag(_)));
        assert!(matches!(err("nginx@sha256:12"), E::BadDigest(_)));
        assert!(matches!(err("a..b"), E::BadRepository(_)));
        assert!(matches!(err("../etc/passwd"), E::BadRegistry(_)));
        assert!(matches!(err("r.io/../x"), E::BadRepository(_)));
        assert!(matches!(err("r.io:99999/x"), E::BadRegistry(_)));
        assert!(matches!(err("r.io//x"), E::BadRepository(_)));
        assert_eq!(err(&"a".repeat(300)), E::TooLong);
    }

    #[test]
    fn shows_names_as_short_as_docker() {
        let familiar = |text: &str| text.parse::<ImageName>().unwrap().familiar();
        assert_eq!(familiar("nginx"), "nginx:latest");
        assert_eq!(familiar("team/app:1"), "team/app:1");
        assert_eq!(familiar("r.io/app"), "r.io/app:latest");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            if let Ok(name) = text.parse::<ImageName>() {
                prop_assert_eq!(name.to_string().parse::<ImageName>(), Ok(name));
            }
        }

        #[test]
        fn likely_texts_read_back(text in "([a-z0-9.:-]{1,8}/){0,3}[a-z0-9._-]{1,8}(:[a-z.-]{1,5})?") {
            if let Ok(name) = text.parse::<ImageName>() {
                prop_assert_eq!(name.to_string().parse::<ImageName>(), Ok(name));
            }
        }
    }
}
