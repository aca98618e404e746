//! Image manifests and indexes, OCI's and Docker's, read within bounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::platform::Platform;

/// The most bytes a manifest, an index or a config may have.
pub const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;
/// The most layers an image may have (overlayfs itself takes 500).
pub const MAX_LAYERS: usize = 128;
/// The most entries an index may have.
const MAX_INDEX: usize = 1024;

/// Media types, as registries name them.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Docker schema 2 manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's old signed manifest, which is refused by name.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// What a client sends as `Accept` for manifests.
    pub const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
}

/// Points at a blob or manifest by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// In an index: the platform it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without platform or annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// One name's images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The images, and sometimes attestations about them.
    pub manifests: Vec<Descriptor>,
}

/// What a manifest URL answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several, by platform.
    Index(Index),
}

/// Why a manifest or index is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Not JSON, or not of the right shape.
    #[error("not a valid image manifest: {0}")]
    Malformed(String),
    /// Schema 1, or something that is no image.
    #[error("{0} is not an image format that Wharf runs; push the image again with a current tool")]
    Unsupported(String),
    /// Over [`MAX_DOCUMENT`].
    #[error("the manifest has {0} bytes, at most {MAX_DOCUMENT} are allowed")]
    TooLarge(u64),
    /// Over [`MAX_LAYERS`].
    #[error("the image has {0} layers, at most {MAX_LAYERS} are allowed")]
    TooManyLayers(usize),
    /// Too many entries in an index.
    #[error("the image index has {0} entries, at most {MAX_INDEX} are allowed")]
    TooManyEntries(usize),
    /// A layer in a format that can't be unpacked.
    #[error("layer {digest} is of type {media_type}, which can't be unpacked on Linux")]
    UnsupportedLayer {
        /// Which layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or index. `content_type` is what the registry said it is; the document's own word counts more.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(ManifestError::TooLarge(bytes.len() as u64));
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
        if probe.schema_version == 1 {
            return Err(ManifestError::Unsupported("Docker's schema 1".into()));
        }
        if probe.schema_version != 2 {
            return Err(ManifestError::Malformed(format!(
                "schemaVersion is {}, it should be 2",
                probe.schema_version
            )));
        }
        // A document that could be read both ways would mean different things to different tools (CVE-2021-41190).
        if probe.manifests.is_some() && probe.layers.is_some() {
            return Err(ManifestError::Malformed("it has both manifests and layers".into()));
        }
        let kind = probe
            .media_type
            .as_deref()
            .or(content_type.map(|t| t.split(';').next().unwrap_or(t).trim()))
            .unwrap_or_default();
        match kind {
            media_type::OCI_INDEX | media_type::DOCKER_LIST => parse_index(bytes),
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => parse_manifest(bytes),
            media_type::DOCKER_SCHEMA1 => Err(ManifestError::Unsupported("Docker's schema 1".into())),
            // Some registries answer application/json or octet-stream: go by the shape.
            _ if probe.manifests.is_some() => parse_index(bytes),
            _ if probe.layers.is_some() => parse_manifest(bytes),
            other => Err(ManifestError::Unsupported(format!("{other:.100}"))),
        }
    }

    /// The media type to serve or push this document under.
    pub fn media_type(&self) -> &str {
        match self {
            Document::Manifest(m) => m.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST),
            Document::Index(i) => i.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        }
    }
}

fn malformed(e: &serde_json::Error) -> ManifestError {
    ManifestError::Malformed(e.to_string())
}

fn parse_manifest(bytes: &[u8]) -> Result<Document, ManifestError> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    if manifest.layers.len() > MAX_LAYERS {
        return Err(ManifestError::TooManyLayers(manifest.layers.len()));
    }
    if manifest.config.size > MAX_DOCUMENT {
        return Err(ManifestError::Malformed(format!(
            "its config has {} bytes, at most {MAX_DOCUMENT} are allowed",
            manifest.config.size
        )));
    }
    if let Some(layer) = manifest.layers.iter().find(|l| !is_layer_type(&l.media_type)) {
        return Err(ManifestError::UnsupportedLayer {
            digest: layer.digest,
            media_type: layer.media_type.chars().take(100).collect(),
        });
    }
    Ok(Document::Manifest(Box::new(manifest)))
}

fn parse_index(bytes: &[u8]) -> Result<Document, ManifestError> {
    let index: Index = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    if index.manifests.len() > MAX_INDEX {
        return Err(ManifestError::TooManyEntries(index.manifests.len()));
    }
    Ok(Document::Index(index))
}

/// Tar layers in any compression we read; foreign layers (Windows) are not served by registries.
fn is_layer_type(media_type: &str) -> bool {
    let Some((base, _)) = media_type.split_once('+').or(Some((media_type, ""))) else { return false };
    matches!(
        base,
        "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
    )
}

impl Index {
    /// The entry that fits `platform` best. Attestations and signatures are no images and are passed over.
    pub fn choose(&self, platform: &Platform) -> Option<&Descriptor> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for entry in self.images() {
            let fit = match &entry.platform {
                Some(p) => platform.fit(p),
                // An entry without a platform is a last resort: its config is checked later.
                None => Some(0),
            };
            if let Some(fit) = fit
                && best.is_none_or(|(b, _)| fit > b)
            {
                best = Some((fit, entry));
            }
        }
        best.map(|(_, entry)| entry)
    }

    /// The platforms there are, sorted.
    pub fn platforms(&self) -> Vec<Platform> {
        let mut all: Vec<Platform> =
            self.images().filter_map(|e| e.platform.clone()).map(Platform::normalized).collect();
        all.sort();
        all.dedup();
        all
    }

    fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| {
            let is_manifest =
                matches!(entry.media_type.as_str(), media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST);
            let attestation = entry.annotations.contains_key("vnd.docker.reference.type")
                || entry.platform.as_ref().is_some_and(|p| p.os == "unknown");
            is_manifest && !attestation
        })
    }
}

/// Go writes empty maps and lists as `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn entry(os: &str, arch: &str, variant: Option<&str>, n: u8) -> serde_json::Value {
        json!({"mediaType": media_type::OCI_MANIFEST, "size": 5, "digest": Digest::of(&[n]),
               "platform": {"os": os, "architecture": arch, "variant": variant}})
    }

    fn index(entries: &serde_json::Value) -> Index {
        let bytes =
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries}).to_string();
        match Document::parse(bytes.as_bytes(), None).unwrap() {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("an index was read as a manifest"),
        }
    }

    #[test]
    fn chooses_by_platform_and_skips_attestations() {
        let mut attestation = entry("unknown", "unknown", None, 0);
        attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let index = index(&json!([
            attestation,
            entry("linux", "arm", Some("v6"), 1),
            entry("linux", "arm", Some("v7"), 2),
            entry("linux", "amd64", None, 3)
        ]));
        let chosen = |p: &str| index.choose(&p.parse().unwrap()).map(|d| d.digest);
        assert_eq!(chosen("linux/amd64"), Some(Digest::of(&[3])));
        assert_eq!(chosen("linux/arm/v7"), Some(Digest::of(&[2])));
        assert_eq!(chosen("linux/arm/v6"), Some(Digest::of(&[1])));
        assert_eq!(chosen("linux/riscv64"), None);
        let names: Vec<String> = index.platforms().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
    }

    #[test]
    fn refuses_what_is_no_image() {
        let parse = |v: serde_json::Value| Document::parse(v.to_string().as_bytes(), None).unwrap_err();
        assert!(matches!(parse(json!({"schemaVersion": 1})), ManifestError::Unsupported(_)));
        assert!(matches!(parse(json!({"schemaVersion": 2})), ManifestError::Unsupported(_)));
        assert!(matches!(
            parse(json!({"schemaVersion": 2, "layers": [], "manifests": []})),
            ManifestError::Malformed(_)
        ));
        let layer = json!({"mediaType": media_type::OCI_LAYER_GZIP, "size": 1, "digest": Digest::of(b"x")});
        let manifest = |layers: Vec<serde_json::Value>| {
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "layers": layers,
                   "config": {"mediaType": media_type::OCI_CONFIG, "size": 2, "digest": Digest::of(b"{}")}})
        };
        assert_eq!(parse(manifest(vec![layer.clone(); 129])), ManifestError::TooManyLayers(129));
        let mut foreign = layer;
        foreign["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert!(matches!(parse(manifest(vec![foreign])), ManifestError::UnsupportedLayer { .. }));
        assert!(matches!(
            Document::parse(&vec![b' '; MAX_DOCUMENT as usize + 1], None),
            Err(ManifestError::TooLarge(_))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Document::parse(&bytes, None);
        }

        #[test]
        fn any_json_like_bytes_are_read_or_refused(text in r#"\{("(schemaVersion|mediaType|manifests|layers|config|digest)":(2|\[\]|\{\}|null|"x"),?){0,6}\}"#) {
            let _ = Document::parse(text.as_bytes(), Some(media_type::OCI_MANIFEST));
        }
    }
}
