//! What is to be mounted into a container: its task's mounts, and the image's volumes that none of them covers.

use std::path::{Component, Path, PathBuf};

use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{ContainerSpec, MountKind};
use wharf_image::ImageConfig;
use wharf_runtime::spec::Propagation;

use super::Refusal;

/// A mount that has still to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What is mounted.
    pub source: Source,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path of the node.
    Bind {
        /// The path.
        path: PathBuf,
        /// Make a folder if there is nothing.
        create: bool,
        /// How mounts below it are shared.
        propagation: Propagation,
    },
    /// A volume's folder.
    Volume {
        /// The folder.
        folder: PathBuf,
        /// Fill it with what the image has there, the first time.
        copy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Largest size.
        size: Option<u64>,
        /// Mode of its root.
        mode: Option<u32>,
    },
}

/// Where a named volume is kept.
pub fn volume_folder(volumes: &Path, name: &str) -> PathBuf {
    volumes.join(name).join("_data")
}

/// Where a task's anonymous volumes are kept. No volume has a name that begins with a dot.
pub fn anonymous_folder(volumes: &Path, task: TaskId) -> PathBuf {
    volumes.join(".anonymous").join(task.to_string())
}

/// All mounts of a task.
///
/// # Errors
/// When one can't be made anywhere.
pub fn wanted_mounts(
    task: TaskId,
    spec: &ContainerSpec,
    image: &ImageConfig,
    volumes: &Path,
) -> Result<Vec<Wanted>, Refusal> {
    let mut anonymous = 0..;
    let mut next_anonymous = || {
        let number = anonymous.next().unwrap_or(0u32);
        anonymous_folder(volumes, task).join(number.to_string()).join("_data")
    };
    let mut all = Vec::new();
    for mount in &spec.mounts {
        let source = match &mount.kind {
            MountKind::Bind { source, create_host_path, propagation } => Source::Bind {
                path: PathBuf::from(source),
                create: *create_host_path,
                propagation: propagation.as_deref().map_or(Ok(Propagation::Rprivate), parse_propagation)?,
            },
            MountKind::Volume { name: Some(name), nocopy } => {
                Source::Volume { folder: volume_folder(volumes, name), copy: !nocopy }
            }
            MountKind::Volume { name: None, nocopy } => {
                Source::Volume { folder: next_anonymous(), copy: !nocopy }
            }
            MountKind::Tmpfs { size, mode } => Source::Tmpfs { size: *size, mode: *mode },
        };
        all.push(Wanted { target: target(&mount.target)?, read_only: mount.read_only, source });
    }
    for path in &image.volumes {
        let target = target(path)?;
        if !all.iter().any(|wanted| wanted.target == target) {
            let source = Source::Volume { folder: next_anonymous(), copy: true };
            all.push(Wanted { target, read_only: false, source });
        }
    }
    Ok(all)
}

/// An absolute path in one spelling, so that `/data` and `/data/` are the same.
fn target(text: &str) -> Result<PathBuf, Refusal> {
    let path = Path::new(text);
    let plain =
        path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_) | Component::CurDir));
    if !path.is_absolute() || !plain {
        return Err(Refusal::of(
            "volumes",
            format!("the target {text:?} must be an absolute path without .."),
        ));
    }
    let clean: PathBuf = path.components().collect();
    if clean == Path::new("/") {
        return Err(Refusal::of("volumes", "the target can't be the container's root"));
    }
    Ok(clean)
}

fn parse_propagation(text: &str) -> Result<Propagation, Refusal> {
    Ok(match text {
        "rprivate" => Propagation::Rprivate,
        "private" => Propagation::Private,
        "rshared" => Propagation::Rshared,
        "shared" => Propagation::Shared,
        "rslave" => Propagation::Rslave,
        "slave" => Propagation::Slave,
        _ => return Err(Refusal::of("volumes", format!("unknown propagation {text:?}"))),
    })
}
