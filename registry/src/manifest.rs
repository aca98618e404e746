//! Reading a manifest that someone pushed: its kind, what it refers to, and what it says about itself.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The largest manifest taken, the figure that the specification asks registries to allow at least.
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;

const IMAGE: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// The media type of an OCI image index, which is also the form of a referrers list.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const INDEX: [&str; 2] = [OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];

/// Why bytes are not a manifest this registry takes.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of a manifest's form.
    #[error("the manifest is not valid: {0}")]
    Json(serde_json::Error),
    /// Its media type is not supported.
    #[error(
        "manifest media type {0:?} is not supported: push an OCI image manifest or index, or a Docker \
         schema 2 manifest or list"
    )]
    MediaType(String),
    /// Neither the Content-Type header nor the document names a media type.
    #[error("the manifest's media type is not known: send it as Content-Type")]
    NoMediaType,
    /// The header and the document disagree.
    #[error("Content-Type is {header:?} but the manifest's mediaType is {document:?}")]
    MediaTypeMismatch {
        /// The Content-Type header.
        header: String,
        /// The document's `mediaType`.
        document: String,
    },
    /// Not a version 2 document.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// A field that the media type needs is missing, or one that it forbids is there.
    #[error("a manifest of type {media_type} {problem}")]
    Fields {
        /// The manifest's media type.
        media_type: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A descriptor has a bad digest.
    #[error("descriptor of {what}: {problem}")]
    Digest {
        /// Which descriptor.
        what: String,
        /// What is wrong with its digest.
        problem: crate::digest::DigestError,
    },
}

/// Something in the same repository that a manifest can't be used without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// Its digest.
    pub digest: Digest,
    /// The size that the manifest gives for it.
    pub size: u64,
    /// Whether it is a manifest (in an index) and not a blob.
    pub is_manifest: bool,
}

/// What this registry needs to know of a manifest.
#[derive(Debug)]
pub struct Manifest {
    /// The media type it is served with.
    pub media_type: String,
    /// Configuration and layers, or an index's manifests; sorted, each once.
    pub dependencies: Vec<Dependency>,
    /// The manifest that this one says something about.
    pub subject: Option<Digest>,
    /// What kind of artifact it is, as the referrers API reports it.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One entry of a referrers list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The referring manifest's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Manifest {
    /// Reads `content`, which was sent as `content_type`.
    pub fn parse(content: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(content).map_err(ManifestError::Json)?;
        let media_type = media_type(content_type, document.media_type.as_deref())?;
        if document.schema_version != Some(2) || document.fs_layers.is_some() {
            return Err(ManifestError::SchemaVersion);
        }
        // A document that can be read both as an image and as an index means different things to
        // different clients, though its digest is the same (CVE-2021-41190).
        let problem = |problem| ManifestError::Fields { media_type: media_type.clone(), problem };
        let mut dependencies = Vec::new();
        let mut artifact_type = document.artifact_type.filter(|kind| !kind.is_empty());
        if INDEX.contains(&media_type.as_str()) {
            if document.config.is_some() || document.layers.is_some() {
                return Err(problem("can't have config or layers"));
            }
            let manifests = document.manifests.ok_or_else(|| problem("needs manifests"))?;
            for (i, descriptor) in manifests.iter().enumerate() {
                dependencies.push(dependency(descriptor, true, || format!("manifest {i}"))?);
            }
        } else {
            if document.manifests.is_some() {
                return Err(problem("can't have manifests"));
            }
            let config = document.config.ok_or_else(|| problem("needs config"))?;
            let layers = document.layers.ok_or_else(|| problem("needs layers"))?;
            dependencies.push(dependency(&config, false, || "the configuration".into())?);
            for (i, descriptor) in layers.iter().enumerate() {
                let found = dependency(descriptor, false, || format!("layer {i}"))?;
                if !is_foreign(descriptor) {
                    dependencies.push(found);
                }
            }
            artifact_type = artifact_type.or(Some(config.media_type));
        }
        dependencies.sort();
        dependencies.dedup();
        let subject = match document.subject {
            Some(descriptor) => Some(dependency(&descriptor, true, || "the subject".into())?.digest),
            None => None,
        };
        let annotations = document.annotations.unwrap_or_default();
        Ok(Manifest { media_type, dependencies, subject, artifact_type, annotations })
    }
}

fn media_type(header: Option<&str>, document: Option<&str>) -> Result<String, ManifestError> {
    let header = header.map(|text| text.split(';').next().unwrap_or_default().trim());
    let media_type = match (header, document) {
        (Some(header), Some(document)) if header != document => {
            let (header, document) = (header.to_owned(), document.to_owned());
            return Err(ManifestError::MediaTypeMismatch { header, document });
        }
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => return Err(ManifestError::NoMediaType),
    };
    if IMAGE.contains(&media_type) || INDEX.contains(&media_type) {
        Ok(media_type.to_owned())
    } else {
        Err(ManifestError::MediaType(media_type.chars().take(100).collect()))
    }
}

fn dependency(
    descriptor: &Descriptor,
    is_manifest: bool,
    what: impl FnOnce() -> String,
) -> Result<Dependency, ManifestError> {
    match descriptor.digest.parse() {
        Ok(digest) => Ok(Dependency { digest, size: descriptor.size, is_manifest }),
        Err(problem) => Err(ManifestError::Digest { what: what(), problem }),
    }
}

/// Layers that may not be distributed stay with their owner and are fetched from their URLs.
fn is_foreign(layer: &Descriptor) -> bool {
    layer.urls.as_ref().is_some_and(|urls| !urls.is_empty())
        && (layer.media_type.contains(".foreign.") || layer.media_type.contains(".nondistributable."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OCI: &str = IMAGE[0];

    fn descriptor(digit: char) -> Value {
        json!({"mediaType": "application/x", "digest": format!("sha256:{}", digit.to_string().repeat(64)), "size": 3})
    }

    fn image() -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI, "config": descriptor('1'), "layers": [descriptor('2')]})
    }

    fn parse(document: &Value, content_type: Option<&str>) -> Result<Manifest, String> {
        Manifest::parse(document.to_string().as_bytes(), content_type).map_err(|e| e.to_string())
    }

    #[test]
    fn an_image_depends_on_its_configuration_and_its_own_layers() {
        let mut document = image();
        let mut foreign = descriptor('3');
        foreign["urls"] = json!(["https://example.com/x"]);
        foreign["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        document["layers"] = json!([descriptor('2'), descriptor('2'), foreign]);
        document["subject"] = descriptor('4');
        let manifest = parse(&document, Some(OCI)).unwrap();
        let digits: Vec<_> = manifest.dependencies.iter().map(|d| &d.digest.hex()[..1]).collect();
        assert_eq!(digits, ["1", "2"]);
        assert!(manifest.subject.unwrap().hex().starts_with('4'));
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/x"));
    }

    #[test]
    fn an_index_depends_on_manifests() {
        let document = json!({"schemaVersion": 2, "manifests": [descriptor('5')], "annotations": {"a": "b"}});
        let manifest =
            parse(&document, Some("application/vnd.oci.image.index.v1+json; charset=utf-8")).unwrap();
        assert!(manifest.dependencies[0].is_manifest);
        assert_eq!(manifest.artifact_type, None);
        assert_eq!(manifest.annotations["a"], "b");
    }

    #[test]
    fn refuses_ambiguous_and_malformed_documents() {
        let mut both = image();
        both["manifests"] = json!([]);
        assert!(parse(&both, Some(OCI)).unwrap_err().contains("can't have manifests"));
        assert!(parse(&both, Some(INDEX[1])).unwrap_err().contains("mediaType"));
        let mut old = image();
        old["schemaVersion"] = json!(1);
        assert!(parse(&old, None).unwrap_err().contains("schemaVersion"));
        let mut bad = image();
        bad["layers"][0]["digest"] = json!("sha256:../../etc");
        assert!(parse(&bad, None).unwrap_err().contains("layer 0"));
        bad["layers"][0]["digest"] = json!(7);
        assert!(parse(&bad, None).unwrap_err().contains("not valid"));
        bad = image();
        bad["layers"][0]["size"] = json!(-1);
        assert!(parse(&bad, None).is_err());
        assert!(parse(&json!({"schemaVersion": 2}), None).unwrap_err().contains("Content-Type"));
        assert!(parse(&json!([]), None).is_err());
        assert!(parse(&image(), Some("text/html")).is_err());
        let deep = "[".repeat(100_000);
        assert!(Manifest::parse(deep.as_bytes(), Some(OCI)).is_err());
    }
}
