//! Repository names, tags and references, checked against the distribution specification's grammar.
//!
//! What passes these checks is safe as a path below the store: no component is empty or begins with
//! a dot or an underscore (a tag may begin with an underscore, but has a folder of its own).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The longest repository name, as in other registries: clients and file systems stop at 255 as well.
pub const MAX_NAME: usize = 255;
/// The longest tag, from the specification.
pub const MAX_TAG: usize = 128;

/// Why a text is not a repository name, tag or reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Not a repository name.
    #[error(
        "a repository name is at most {MAX_NAME} characters of lower-case letters, digits and the \
         separators . _ __ - inside components, which are divided by /"
    )]
    Repository,
    /// Neither a tag nor a digest.
    #[error(
        "a reference is a digest, or a tag of at most {MAX_TAG} letters, digits, and . _ - which does \
         not begin with . or -"
    )]
    Reference,
}

/// A checked repository name such as `library/busybox`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(String);

impl RepoName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= MAX_NAME && text.split('/').all(is_component) {
            Ok(RepoName(text.to_owned()))
        } else {
            Err(NameError::Repository)
        }
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

/// A checked tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let begins_well = text.bytes().next().is_some_and(word);
        if begins_well && text.len() <= MAX_TAG && text.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
            Ok(Tag(text.to_owned()))
        } else {
            Err(NameError::Reference)
        }
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A name that can be moved to another manifest.
    Tag(Tag),
    /// The manifest's own digest.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            text.parse().map(Reference::Digest).map_err(|_| NameError::Reference)
        } else {
            text.parse().map(Reference::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => f.write_str(tag.as_str()),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        let long = "a".repeat(MAX_NAME);
        for good in ["a", "library/busybox", "a.b/c_d/e__f/g---h", "0/1", long.as_str()] {
            assert!(good.parse::<RepoName>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(MAX_NAME + 1);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/..",
            "..",
            ".",
            "_a",
            "a_",
            "-a",
            "a.",
            "a..b",
            "a___b",
            "a.-b",
            "a b",
            "a%2fb",
            "é",
            "a\0b",
            "a\n",
            too_long.as_str(),
        ] {
            assert_eq!(bad.parse::<RepoName>(), Err(NameError::Repository), "{bad:?}");
        }
    }

    #[test]
    fn references_are_tags_or_digests() {
        let long = "t".repeat(MAX_TAG);
        for good in ["latest", "_x", "V1.2-rc_3", long.as_str()] {
            assert!(matches!(good.parse(), Ok(Reference::Tag(_))), "{good}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        let too_long = "t".repeat(MAX_TAG + 1);
        for bad in ["", ".x", "-x", "a/b", "a b", "sha256:0", "ü", too_long.as_str()] {
            assert_eq!(bad.parse::<Reference>(), Err(NameError::Reference), "{bad:?}");
        }
    }
}
