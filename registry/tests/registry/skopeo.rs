//! `skopeo`, a client that others wrote, against the command.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{OCI_IMAGE, OCI_INDEX, Process, bytes, descriptor, sha256};

/// Runs skopeo and returns what it printed.
fn skopeo(args: &[&str]) -> String {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(args)
        // Not through a proxy, and with no credentials of the user's.
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .env("REGISTRY_AUTH_FILE", "/nonexistent/auth.json")
        .output()
        .unwrap_or_else(|error| panic!("this test needs skopeo (apt-get install skopeo): {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Writes an OCI layout with one image of two layers, tagged `v1`, and returns the manifest.
fn write_layout(folder: &Path) -> Value {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let write = |content: &[u8]| {
        let digest = sha256(content);
        std::fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), content).unwrap();
        digest
    };
    let layers = [bytes(2_000_000, 1), bytes(3000, 2)];
    let diff_ids: Vec<_> = layers.iter().map(|layer| write(layer)).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/hello"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string();
    write(config.as_bytes());
    let layer_type = "application/vnd.oci.image.layer.v1.tar";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": layers.iter().map(|layer| descriptor(layer_type, layer)).collect::<Vec<_>>(),
    });
    let text = manifest.to_string();
    write(text.as_bytes());
    let mut entry = descriptor(OCI_IMAGE, text.as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    manifest
}

/// Copies an image there and back, uncompressed so that its digests stay, and compares all bytes.
fn round_trip(image: &str, push: &[&str], pull: &[&str], inspect: &[&str]) {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let manifest = write_layout(from.path());
    let source = format!("oci:{}:v1", from.path().display());
    let target = format!("oci:{}:v1", to.path().display());
    let copy = ["copy", "--preserve-digests"];
    skopeo(&[&copy, push, &[&source, image]].concat());
    skopeo(&[&copy, pull, &[image, &target]].concat());
    let wanted = [&manifest["config"], &manifest["layers"][0], &manifest["layers"][1]];
    let digests = wanted.map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned());
    for digest in digests.into_iter().chain([sha256(manifest.to_string().as_bytes())]) {
        let file = to.path().join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
        assert_eq!(sha256(&std::fs::read(file).unwrap()), digest);
    }
    let told: Value = serde_json::from_str(&skopeo(&[&["inspect"], inspect, &[image]].concat())).unwrap();
    assert_eq!(told["Digest"], sha256(manifest.to_string().as_bytes()));
    assert_eq!(told["RepoTags"], json!(["v1"]));
    assert_eq!(told["Layers"].as_array().unwrap().len(), 2);
}

#[test]
fn copies_there_and_back_over_http() {
    let dir = TempDir::new().unwrap();
    let registry = Process::start(dir.path(), &[]);
    let image = format!("docker://{}/team/hello:v1", registry.addr);
    round_trip(&image, &["--dest-tls-verify=false"], &["--src-tls-verify=false"], &["--tls-verify=false"]);
    // From one repository to another, for which it mounts the blobs; and as a Docker manifest, compressed.
    let between = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let other = format!("docker://{}/team/other:v2", registry.addr);
    skopeo(&[&["copy"], &between[..], &[&image, &other]].concat());
    let docker = format!("docker://{}/team/docker:v2", registry.addr);
    skopeo(&[&["copy", "--format", "v2s2", "--dest-compress"], &between[..], &[&image, &docker]].concat());
    let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", &docker]);
    assert!(raw.contains("application/vnd.docker.distribution.manifest.v2+json"), "{raw}");

    skopeo(&["delete", "--tls-verify=false", &other]);
    let listed = skopeo(&["list-tags", "--tls-verify=false", image.rsplit_once(':').unwrap().0]);
    assert!(listed.contains("v1"), "{listed}");
}

#[test]
fn copies_there_and_back_over_tls_with_a_certificate_of_its_own() {
    let (dir, pki) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (pki.path().join("ca.crt"), pki.path().join("server.key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let args = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let registry = Process::start(dir.path(), &args);
    // Skopeo trusts each *.crt in the folder.
    let trusted = pki.path().to_str().unwrap();
    round_trip(
        &format!("docker://{}/team/hello:v1", registry.addr),
        &["--dest-cert-dir", trusted],
        &["--src-cert-dir", trusted],
        &["--cert-dir", trusted],
    );
}
