//! Images that nobody should trust: made by hand, pushed with skopeo.

use crate::cluster::Cluster;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fs, path::Path};

/// Pushes an image whose one layer is `layer`, an uncompressed tar, as `name` into the cluster's registry.
///
/// # Panics
/// When skopeo is missing or fails.
pub fn push_image_with_layer(cluster: &Cluster, layer: &[u8], name: &str) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder can be made");
    let layer = blob(&blobs, layer, "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = blob(&blobs, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let manifest =
        blob(&blobs, manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(folder.path().join("index.json"), index.to_string()).expect("a file can be written");
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("a file can be written");
    let source = format!("oci:{}", folder.path().display());
    let output = cluster
        .client_host()
        .command("skopeo")
        .args(["copy", "--insecure-policy", "--dest-tls-verify=false", &source, &format!("docker://{name}")])
        .output()
        .expect("skopeo can be run");
    assert!(output.status.success(), "skopeo copy to {name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a blob and gives its descriptor.
fn blob(folder: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = hex::encode(Sha256::digest(bytes));
    fs::write(folder.join(&digest), bytes).expect("a file can be written");
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
}
