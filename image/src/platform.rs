//! Platforms an image is for, and which of several fits a machine best.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An operating system and processor, in Go's words (`linux/amd64`, `linux/arm/v7`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, ...
    pub architecture: String,
    /// `v7`, `v8`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The text is not `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a platform, write it as os/architecture or os/architecture/variant, like linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// A Linux platform without a variant.
    pub fn linux(architecture: &str) -> Self {
        Platform { os: "linux".into(), architecture: architecture.into(), variant: None }.normalized()
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        Platform::linux(std::env::consts::ARCH)
    }

    /// The same platform in the usual words: `x86_64` is `amd64`, `arm64` without a variant is `v8`, ...
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.os.make_ascii_lowercase();
        self.architecture.make_ascii_lowercase();
        self.architecture = match self.architecture.as_str() {
            "x86_64" | "x86-64" => "amd64".into(),
            "aarch64" => "arm64".into(),
            "x86" | "i386" | "i486" | "i586" | "i686" => "386".into(),
            "powerpc64le" | "powerpc64" => "ppc64le".into(),
            "loongarch64" => "loong64".into(),
            _ => self.architecture,
        };
        self.variant = match (self.architecture.as_str(), self.variant.as_deref()) {
            (_, Some("")) | ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7".into()),
            ("arm", Some(v @ ("5" | "6" | "7" | "8"))) => Some(format!("v{v}")),
            _ => self.variant,
        };
        self
    }

    /// How well an image for `image` runs here: none if not at all, and the higher the better.
    pub fn fit(&self, image: &Platform) -> Option<u32> {
        let (host, image) = (self.clone().normalized(), image.clone().normalized());
        if host.os != image.os || host.architecture != image.architecture {
            return None;
        }
        let (have, want) = (level(host.variant.as_deref()), level(image.variant.as_deref()));
        match (host.variant == image.variant, have, want) {
            (true, _, _) => Some(u32::MAX),
            // Newer 32-bit Arm and arm64 processors run what was built for older ones.
            (false, have, want) if have >= want => Some(want),
            _ => None,
        }
    }
}

/// `v7` -> 7; no variant is the lowest level.
fn level(variant: Option<&str>) -> u32 {
    variant.map_or(0, |v| v.trim_start_matches('v').parse().unwrap_or(u32::MAX))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let ok = |part: &&str| {
            part.len() <= 32
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let (os, architecture, variant) = match parts.as_slice() {
            [os, arch] if parts.iter().all(ok) => (os, arch, None),
            [os, arch, variant] if parts.iter().all(ok) => (os, arch, Some((*variant).to_owned())),
            _ => return Err(PlatformError(text.chars().take(100).collect())),
        };
        Ok(Platform { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant }.normalized())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn reads_other_spellings() {
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(platform("linux/aarch64/v8").to_string(), "linux/arm64");
        assert_eq!(platform("linux/arm").to_string(), "linux/arm/v7");
        assert!("linux".parse::<Platform>().is_err());
        assert!("linux/../amd64".parse::<Platform>().is_err());
    }

    #[test]
    fn prefers_the_same_variant_then_the_newest_older_one() {
        let host = platform("linux/arm/v7");
        assert_eq!(host.fit(&platform("linux/arm/v7")), Some(u32::MAX));
        assert!(host.fit(&platform("linux/arm/v6")) > host.fit(&platform("linux/arm/v5")));
        assert_eq!(host.fit(&platform("linux/arm/v8")), None);
        assert_eq!(host.fit(&platform("linux/arm64")), None);
        assert_eq!(host.fit(&platform("windows/arm/v7")), None);
    }
}
