//! The image config: what to run in a root filesystem, and how it is made up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::{Digest, Hasher};
use crate::manifest::{MAX_DOCUMENT, null_as_default};
use crate::platform::Platform;

/// What a runtime needs to know to run the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty is root.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp`, `53/udp`, ...
    #[serde(with = "set_of_empty_objects", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command's first words.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The command, or its arguments if there is an entrypoint.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Paths that should be volumes.
    #[serde(with = "set_of_empty_objects", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// The working directory; empty is `/`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to stop; empty is SIGTERM.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Docker's extension: how to see whether it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's health check. Durations are nanoseconds; 0 means "take the default".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", "..."]`; empty inherits.
    #[serde(deserialize_with = "null_as_default")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// How long one check may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// How long failures don't count at first.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Time between checks within the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures in a row until it counts as unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The config document, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// When it was built, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The processor it is for. Some old tools leave it out.
    #[serde(default)]
    pub architecture: String,
    /// The operating system it is for.
    #[serde(default)]
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What to run.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: ImageConfig,
    /// The uncompressed layers.
    pub rootfs: RootFs,
    /// How it was built.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// The layers by the digests of their uncompressed tars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of how an image was built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Why a config is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not JSON, or not of the right shape.
    #[error("not a valid image config: {0}")]
    Malformed(String),
    /// Its layers are not the manifest's.
    #[error("the image config names {config} layers, the manifest {manifest}")]
    LayerCount {
        /// How many `diff_ids`.
        config: usize,
        /// How many layers.
        manifest: usize,
    },
}

impl ConfigFile {
    /// Reads a config blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(ConfigError::Malformed(format!("over {MAX_DOCUMENT} bytes")));
        }
        serde_json::from_slice(bytes).map_err(|e| ConfigError::Malformed(e.to_string()))
    }

    /// The platform it says it is for; none if it doesn't say.
    pub fn platform(&self) -> Option<Platform> {
        if self.architecture.is_empty() {
            return None;
        }
        let os = if self.os.is_empty() { "linux".to_owned() } else { self.os.clone() };
        Some(
            Platform { os, architecture: self.architecture.clone(), variant: self.variant.clone() }
                .normalized(),
        )
    }

    /// The chain id of each layer: what identifies it together with all below it.
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(&self.rootfs.diff_ids)
    }
}

/// Chain ids by the OCI image spec: the first is the first diff id, then `sha256(previous + " " + diff_id)`.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => *diff_id,
            Some(parent) => {
                let mut hasher = Hasher::sha256();
                hasher.update(format!("{parent} {diff_id}").as_bytes());
                hasher.finish()
            }
        };
        chain.push(id);
    }
    chain
}

/// Docker writes sets as objects whose values are all `{}`.
mod set_of_empty_objects {
    use std::collections::BTreeMap;

    use serde::de::IgnoredAny;
    use serde::ser::SerializeMap;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(keys.len()))?;
        for key in keys {
            map.serialize_entry(key, &BTreeMap::<(), ()>::new())?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_docker_config() {
        let text = r#"{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-01-01T00:00:00Z",
            "config":{"Hostname":"","Env":["PATH=/bin"],"Cmd":["sh"],"Entrypoint":null,"ExposedPorts":{"80/tcp":{}},
            "Volumes":{"/data":{}},"WorkingDir":"/w","Labels":null,"StopSignal":"SIGQUIT",
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":3}},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true}]}"#;
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.platform().unwrap().to_string(), "linux/arm64");
        assert_eq!(file.config.exposed_ports, ["80/tcp"]);
        assert_eq!(file.config.volumes, ["/data"]);
        assert_eq!(file.config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
        let again = ConfigFile::parse(&serde_json::to_vec(&file).unwrap()).unwrap();
        assert_eq!(again, file);
    }

    #[test]
    fn a_config_needs_only_its_rootfs() {
        let file = ConfigFile::parse(br#"{"rootfs":{"diff_ids":null},"config":null}"#).unwrap();
        assert_eq!(file.platform(), None);
        assert!(ConfigFile::parse(b"{}").is_err());
        assert!(ConfigFile::parse(br#"{"rootfs":{"diff_ids":["sha256:xyz"]}}"#).is_err());
    }

    #[test]
    fn chain_ids_follow_the_spec() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_ids(&[a, b]), [a, Digest::of(format!("{a} {b}").as_bytes())]);
        assert_eq!(chain_ids(&[]), []);
    }
}
