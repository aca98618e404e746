//! What is mounted into a service's containers.

use serde::{Serialize, Serializer};

/// One mount from `volumes:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// The absolute path inside the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What a [`Mount`] mounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// A path of the node.
    Bind {
        /// The absolute path on the node.
        source: String,
        /// How mounts made later travel between node and container; `rprivate` when absent.
        propagation: Option<Propagation>,
        /// Whether a missing path is created as a folder.
        create_host_path: bool,
    },
    /// A volume.
    Volume {
        /// The key in [`Project::volumes`](super::Project::volumes); absent for an anonymous volume.
        source: Option<String>,
        /// Whether to leave a new volume empty instead of filling it from the image.
        nocopy: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its largest size in bytes.
        size: Option<u64>,
        /// The permission bits of its root.
        mode: Option<u32>,
    },
}

/// How mount events travel between a bind mount and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// `private`
    Private,
    /// `rprivate`
    Rprivate,
    /// `shared`
    Shared,
    /// `rshared`
    Rshared,
    /// `slave`
    Slave,
    /// `rslave`
    Rslave,
}

/// One entry of `tmpfs:`, such as `/run:size=64m,noexec`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tmpfs {
    /// The absolute path inside the container.
    pub target: String,
    /// Its largest size in bytes.
    pub size: Option<u64>,
    /// The permission bits of its root.
    pub mode: Option<u32>,
    /// The owner of its root.
    pub uid: Option<u32>,
    /// The group of its root.
    pub gid: Option<u32>,
    /// Mount flags such as `noexec`, `nosuid` or `ro`, in the file's order.
    pub flags: Vec<String>,
}

impl Serialize for Tmpfs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut options = self.flags.clone();
        options.extend(self.size.map(|size| format!("size={size}")));
        options.extend(self.mode.map(|mode| format!("mode={mode:o}")));
        options.extend(self.uid.map(|uid| format!("uid={uid}")));
        options.extend(self.gid.map(|gid| format!("gid={gid}")));
        if options.is_empty() {
            serializer.serialize_str(&self.target)
        } else {
            serializer.collect_str(&format_args!("{}:{}", self.target, options.join(",")))
        }
    }
}

impl Serialize for Mount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LongMount::from(self).serialize(serializer)
    }
}

/// The long syntax of a mount.
#[derive(Serialize)]
struct LongMount<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    target: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<LongBind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<LongVolume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmpfs: Option<LongTmpfs>,
}

#[derive(Serialize)]
struct LongBind {
    #[serde(skip_serializing_if = "Option::is_none")]
    propagation: Option<Propagation>,
    create_host_path: bool,
}

#[derive(Serialize)]
struct LongVolume {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    nocopy: bool,
}

#[derive(Serialize)]
struct LongTmpfs {
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

impl<'a> From<&'a Mount> for LongMount<'a> {
    fn from(mount: &'a Mount) -> Self {
        let mut long = LongMount {
            r#type: "bind",
            source: None,
            target: &mount.target,
            read_only: mount.read_only,
            bind: None,
            volume: None,
            tmpfs: None,
        };
        match &mount.kind {
            MountKind::Bind { source, propagation, create_host_path } => {
                long.source = Some(source);
                long.bind = Some(LongBind { propagation: *propagation, create_host_path: *create_host_path });
            }
            MountKind::Volume { source, nocopy } => {
                long.r#type = "volume";
                long.source = source.as_deref();
                long.volume = Some(LongVolume { nocopy: *nocopy });
            }
            MountKind::Tmpfs { size, mode } => {
                long.r#type = "tmpfs";
                long.tmpfs = Some(LongTmpfs {
                    size: size.map(|size| size.to_string()),
                    mode: mode.map(|mode| format!("0{mode:o}")),
                });
            }
        }
        long
    }
}
