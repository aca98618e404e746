//! Makes a task ready to start: image, root filesystem, network, volumes, files.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_cluster::model::{ContainerSpec, NetworkMode, TaskState};
use wharf_image::ImageRecord;
use wharf_image::fs_error::FsError;

use super::runner::Runner;
use super::{Prepared, Worker, volumes};
use crate::images::ImageError;
use crate::network::{Attached, NetworkError};
use crate::spec::{self, Refusal, Site, Wanted as WantedMount};
use crate::task::{Assigned, Status};

/// Why a task ends before it started.
pub(super) struct Failure {
    /// Trying again is of no use.
    permanent: bool,
    message: String,
}

impl Failure {
    pub(super) fn new(permanent: bool, error: impl std::fmt::Display) -> Self {
        Failure { permanent, message: error.to_string() }
    }

    pub(super) fn status(self) -> Status {
        let state = if self.permanent { TaskState::Rejected } else { TaskState::Failed };
        Status::new(state, self.message)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::new(true, refusal)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Failure::new(error.is_permanent(), error)
    }
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Failure::new(error.is_permanent(), error)
    }
}

impl From<volumes::VolumeError> for Failure {
    fn from(error: volumes::VolumeError) -> Self {
        Failure::new(error.is_permanent(), error)
    }
}

impl Runner {
    /// Makes the task ready, unless it is told to stop before its image is here.
    pub(super) async fn prepare(&mut self, task: &Assigned) {
        let spec = match &task.container {
            Ok(spec) => spec,
            Err(invalid) => return self.report(Status::new(TaskState::Rejected, invalid.to_string())),
        };
        self.report(Status::new(TaskState::Preparing, format!("getting image {}", spec.image)));
        self.seen.leftovers = true;
        let worker = self.worker.clone();
        let mut wanted = self.wanted.clone();
        let pulled = tokio::select! {
            pulled = worker.parts.images.pull(&spec.image) => pulled,
            () = Self::unwanted(&mut wanted) => return,
        };
        // The semaphore is never closed.
        let _permit = worker.making.acquire().await;
        if !self.is_wanted() {
            return;
        }
        let made = match pulled {
            Ok(image) => worker.make(task, spec, &image).await,
            Err(error) => Err(error.into()),
        };
        match made {
            Ok(prepared) => match prepared.save(&worker.parts.places.folder(self.id)) {
                Ok(()) => {
                    self.prepared = Some(prepared);
                    self.seen.prepared = true;
                    self.report(Status::new(TaskState::Ready, ""));
                }
                Err(error) => {
                    let reason = format!("can't keep what was made ready: {error}");
                    self.report(Failure::new(false, reason).status());
                }
            },
            Err(failure) => self.report(failure.status()),
        }
    }
}

impl Worker {
    /// Why this node can't run a task, as far as that is known before its image is here.
    pub(super) fn refusal(&self, task: &Assigned) -> Option<String> {
        let spec = match &task.container {
            Ok(spec) => spec,
            Err(invalid) => return Some(invalid.to_string()),
        };
        let wanted = spec.runtime.as_ref()?;
        let known = self.parts.runtime.runtime_names();
        (!known.contains(wanted))
            .then(|| format!("this node has no runtime named {wanted:?}; it has {}", known.join(", ")))
    }

    async fn make(
        &self,
        task: &Assigned,
        spec: &ContainerSpec,
        image: &Arc<ImageRecord>,
    ) -> Result<Prepared, Failure> {
        let (parts, places) = (&self.parts, &self.parts.places);
        // What can be refused is refused before anything is made.
        spec::args(spec, &image.config)?;
        let stop_signal = spec::stop_signal(spec, &image.config)?;
        let wanted = spec::wanted_mounts(task.id, spec, &image.config, &places.volumes)?;
        let rootfs = parts.images.prepare(task.id, image).await?;
        let attached = match spec.network_mode {
            NetworkMode::Bridge => Some(parts.network.attach(task.id, &spec.ports).await?),
            NetworkMode::Host | NetworkMode::None => None,
        };
        let mounts = self.mounts(wanted, rootfs.clone()).await?;
        let files = places.folder(task.id);
        self.write_files(&files, task, spec, attached.as_ref())
            .map_err(|error| Failure::new(false, error))?;
        let site = Site {
            rootfs: &rootfs,
            netns: attached.as_ref().map(|attached| attached.netns.as_path()),
            files: &files,
            mounts,
            cgroup_parent: &places.cgroup_parent,
            node: &places.node,
        };
        let ports = attached.iter().flat_map(|attached| &attached.ports);
        Ok(Prepared {
            container: spec::container(task, spec, &image.config, site)?,
            runtime: spec.runtime.clone(),
            log: spec::log_options(spec),
            stop_signal,
            stop_grace: spec.stop_grace_period,
            health: spec::health_check(spec, &image.config),
            ports: ports.map(|port| (port.published, port.target)).collect(),
        })
    }

    async fn mounts(
        &self,
        wanted: Vec<WantedMount>,
        rootfs: PathBuf,
    ) -> Result<Vec<wharf_runtime::spec::Mount>, Failure> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let made = tokio::task::spawn_blocking(move || volumes::make(wanted, &rootfs)).await;
        Ok(made.map_err(|error| Failure::new(false, error))??)
    }

    fn write_files(
        &self,
        folder: &Path,
        task: &Assigned,
        spec: &ContainerSpec,
        attached: Option<&Attached>,
    ) -> Result<(), FsError> {
        let places = &self.parts.places;
        let hostname = spec::hostname(spec.hostname.as_deref(), &task.name);
        // A node without these files is one that knows no names.
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let own_network = spec.network_mode != NetworkMode::Host;
        let gateway: Option<Ipv4Addr> = own_network.then(|| self.parts.network.gateway());
        let hosts = if own_network {
            spec::hosts(attached.map(|attached| attached.address), gateway, &hostname, &spec.extra_hosts)
        } else {
            format!("{}\n{}", read(&places.hosts), spec::extra_hosts(None, &spec.extra_hosts))
        };
        let resolv_conf = spec::resolv_conf(&read(&places.resolv_conf), own_network);
        std::fs::create_dir_all(folder).map_err(|error| FsError::new("create", folder, error))?;
        for (name, text) in [
            (spec::HOSTS, hosts),
            (spec::RESOLV_CONF, resolv_conf),
            (spec::HOSTNAME, format!("{hostname}\n")),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| FsError::new("write", &path, error))?;
        }
        Ok(())
    }
}
