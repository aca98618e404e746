//! Puts images into the test registry.

use serde_json::{Value, json};
use wharf_image::Digest;
use wharf_image::manifest::media_type;

use super::{Archive, Registry, archive::gzip};

pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image in the making.
pub(crate) struct Publish {
    architecture: &'static str,
    config: Value,
    /// Compressed bytes, media type, digest of the plain bytes.
    layers: Vec<(Vec<u8>, String, Digest)>,
    docker: bool,
}

/// What was published.
pub(crate) struct Published {
    pub manifest: Digest,
    pub size: usize,
    pub layers: Vec<Digest>,
    pub architecture: &'static str,
}

impl Publish {
    pub(crate) fn new() -> Self {
        Publish { architecture: "amd64", config: json!({"Cmd": ["sh"]}), layers: Vec::new(), docker: false }
    }

    pub(crate) fn architecture(self, architecture: &'static str) -> Self {
        Publish { architecture, ..self }
    }

    /// With Docker's media types instead of OCI's.
    pub(crate) fn docker(self) -> Self {
        Publish { docker: true, ..self }
    }

    pub(crate) fn config(self, config: Value) -> Self {
        Publish { config, ..self }
    }

    pub(crate) fn layer(self, archive: Archive) -> Self {
        let tar = archive.tar();
        let (compressed, diff_id) = (gzip(&tar), Digest::of(&tar));
        let media_type = if self.docker { DOCKER_LAYER.to_owned() } else { format!("{OCI_LAYER}+gzip") };
        self.raw_layer(compressed, &media_type, diff_id)
    }

    pub(crate) fn zstd_layer(self, archive: Archive) -> Self {
        let tar = archive.tar();
        self.raw_layer(zstd::encode_all(&tar[..], 3).unwrap(), &format!("{OCI_LAYER}+zstd"), Digest::of(&tar))
    }

    pub(crate) fn plain_layer(self, archive: Archive) -> Self {
        let tar = archive.tar();
        let diff_id = Digest::of(&tar);
        self.raw_layer(tar, OCI_LAYER, diff_id)
    }

    pub(crate) fn raw_layer(mut self, bytes: Vec<u8>, media_type: &str, diff_id: Digest) -> Self {
        self.layers.push((bytes, media_type.to_owned(), diff_id));
        self
    }

    /// Puts the image under `repository:tag`.
    pub(crate) fn publish(self, registry: &Registry, repository: &str, tag: &str) -> Published {
        let diff_ids: Vec<String> = self.layers.iter().map(|l| l.2.to_string()).collect();
        let config = json!({"architecture": self.architecture, "os": "linux", "config": self.config,
                            "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string();
        let (manifest_type, config_type) = if self.docker {
            (media_type::DOCKER_MANIFEST, "application/vnd.docker.container.image.v1+json")
        } else {
            (media_type::OCI_MANIFEST, media_type::OCI_CONFIG)
        };
        let mut blobs = registry.state.blobs.lock();
        let mut put = |bytes: Vec<u8>, media_type: &str| {
            let digest = Digest::of(&bytes);
            let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
            blobs.insert(digest, bytes.into());
            (digest, descriptor)
        };
        let (_, config) = put(config.into_bytes(), config_type);
        let (layers, descriptors): (Vec<Digest>, Vec<Value>) =
            self.layers.into_iter().map(|(bytes, media_type, _)| put(bytes, &media_type)).unzip();
        drop(blobs);
        let manifest = json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config,
                              "layers": descriptors});
        let (digest, size) = put_manifest(registry, repository, tag, manifest_type, &manifest);
        Published { manifest: digest, size, layers, architecture: self.architecture }
    }
}

/// Puts an index of images under `repository:tag`.
pub(crate) fn publish_index(
    registry: &Registry,
    repository: &str,
    tag: &str,
    images: &[&Published],
) -> Digest {
    let entries: Vec<Value> = images
        .iter()
        .map(|i| {
            json!({"mediaType": media_type::OCI_MANIFEST, "digest": i.manifest, "size": i.size,
                   "platform": {"os": "linux", "architecture": i.architecture}})
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries});
    put_manifest(registry, repository, tag, media_type::OCI_INDEX, &index).0
}

/// Puts any document where a manifest is looked for.
pub(crate) fn put_manifest(
    registry: &Registry,
    repository: &str,
    tag: &str,
    media_type: &str,
    document: &Value,
) -> (Digest, usize) {
    let bytes = document.to_string().into_bytes();
    let (digest, size) = (Digest::of(&bytes), bytes.len());
    let mut manifests = registry.state.manifests.lock();
    manifests.insert(format!("{repository}:{tag}"), (media_type.to_owned(), bytes.clone().into()));
    manifests.insert(format!("{repository}@{digest}"), (media_type.to_owned(), bytes.into()));
    (digest, size)
}
