//! Making a container: its files, then its shim, then the shim's first word.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libcontainer::oci_spec::runtime::{LinuxSeccomp, Spec};

use super::bundle::{self, Extras};
use super::{Inner, cgroup, make_private_dir, talk};
use crate::api::{CreateError, CreateRequest, Started};
use crate::layout::{self, CONFIG, LogConfig, Reply, SECCOMP, SHIM_CONFIG, ShimConfig};
use crate::runtimes::Runtime;
use crate::spec::{ContainerSpec, SpecError, User, make_dir_in_root, oci_spec, resolve_user, valid_id};

/// What a shim, and so an external runtime, finds its own tools with.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Begins the name of a directory that is not complete yet; no container's name begins so.
pub(crate) const NEW_PREFIX: &str = ".new-";
/// Longest first word of a shim.
const MAX_REPLY: u64 = 64 * 1024;

impl From<SpecError> for CreateError {
    fn from(error: SpecError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl Inner {
    pub(crate) fn create(&self, request: &CreateRequest) -> Result<Started, CreateError> {
        let runtime = self.runtime(request)?;
        let spec = resolved(&request.spec)?;
        let mut oci = oci_spec(&spec, &self.config.host, Some(&self.init_path()))?;
        let extras = match runtime {
            Runtime::Embedded => bundle::adapt(&mut oci, &self.config.host)?,
            Runtime::Program(_) => Extras::default(),
        };
        let filter = extras.filter.as_ref().map(|f| self.compiled(f)).transpose()?;
        make_dir_in_root(&spec.rootfs, &spec.cwd)?;

        let config = self.shim_config_for(&spec, request, runtime, extras);
        let dir = self.config.run_dir.join(&spec.id);
        let listener = self.write_bundle(&dir, &oci, &config, filter.as_deref())?;
        let result = self.start_shim(&dir, listener);
        if result.is_err() {
            // What can't be removed now is found and removed by the next list and delete.
            if let Err(error) = self.remove(&spec.id) {
                tracing::warn!(id = spec.id, %error, "could not clean up after a container that was not created");
            }
        }
        result
    }

    /// Writes a container's directory under another name, so that it appears with all its files, and with a socket
    /// that takes connections. The socket is made here rather than by the shim: whoever asks finds it from the
    /// beginning, and only the end of the shim closes it.
    fn write_bundle(
        &self,
        dir: &Path,
        oci: &Spec,
        config: &ShimConfig,
        filter: Option<&Vec<u8>>,
    ) -> Result<UnixListener, CreateError> {
        let new = self.config.run_dir.join(format!("{NEW_PREFIX}{}", config.id));
        let write_all = || -> io::Result<UnixListener> {
            if let Some(log_dir) = config.log.path.parent() {
                make_private_dir(log_dir)?;
            }
            layout::write(&new.join(CONFIG), &serde_json::to_vec(oci)?)?;
            layout::write(&new.join(SHIM_CONFIG), &serde_json::to_vec(config)?)?;
            if let Some(filter) = filter {
                layout::write(&new.join(SECCOMP), filter)?;
            }
            let listener = talk::listen(&new)?;
            std::fs::rename(&new, dir)?;
            Ok(listener)
        };
        let exists = || CreateError::Exists(config.id.clone());
        match std::fs::DirBuilder::new().mode(0o700).create(&new) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            other => other.map_err(io_error(format!("can't make {}", new.display())))?,
        }
        write_all().map_err(|error| {
            if let Err(error) = std::fs::remove_dir_all(&new) {
                tracing::warn!(id = config.id, %error, "could not remove the files of a container that was not created");
            }
            match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => exists(),
                _ => io_error(format!("can't write {}", dir.display()))(error),
            }
        })
    }

    fn runtime(&self, request: &CreateRequest) -> Result<&Runtime, CreateError> {
        if !valid_id(&request.spec.id) {
            return Err(CreateError::Invalid(format!("{:?} can't be a container id", request.spec.id)));
        }
        let runtimes = &self.config.runtimes;
        runtimes.get(request.runtime.as_deref()).ok_or_else(|| CreateError::UnknownRuntime {
            name: request.runtime.clone().unwrap_or_default(),
            known: runtimes.names().join(", "),
        })
    }

    fn compiled(&self, filter: &LinuxSeccomp) -> Result<std::sync::Arc<Vec<u8>>, CreateError> {
        self.filters.compiled(filter).map_err(CreateError::Invalid)
    }

    fn shim_config_for(
        &self,
        spec: &ContainerSpec,
        request: &CreateRequest,
        runtime: &Runtime,
        extras: Extras,
    ) -> ShimConfig {
        let cgroup_path = PathBuf::from(spec.cgroup_path());
        ShimConfig {
            id: spec.id.clone(),
            runtime: match runtime {
                Runtime::Embedded => None,
                Runtime::Program(path) => Some(path.clone()),
            },
            oci_root: self.oci_root(),
            log: LogConfig {
                path: self.log_path(&spec.id),
                max_size: request.log.max_size,
                max_files: request.log.max_files,
            },
            oom_file: cgroup::oom_file(&self.config.host, &cgroup_path),
            cgroup_path,
            tty: spec.tty,
            device_cgroup: extras.device_cgroup,
            limit_files: extras.limit_files,
        }
    }

    fn start_shim(&self, dir: &Path, listener: UnixListener) -> Result<Started, CreateError> {
        let shim = &self.config.shim;
        let mut child = Command::new(shim)
            .arg("run")
            .arg(dir)
            .env_clear()
            .env("PATH", PATH)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io_error(format!("can't start {}", shim.display())))?;
        let mut line = String::new();
        let read = match child.stdout.take() {
            Some(stdout) => BufReader::new(stdout.take(MAX_REPLY)).read_line(&mut line),
            None => Ok(0),
        };
        // The process that was started has left the shim behind and ended by now.
        child.wait().map_err(io_error("can't wait for the shim".to_owned()))?;
        read.map_err(io_error("can't read the shim's answer".to_owned()))?;
        match serde_json::from_str(&line) {
            Ok(Reply::Running(record)) => Ok(record.into()),
            // Every runtime words it so, after words of its own.
            Ok(Reply::Error { error }) => Err(match error.find("exec: \"") {
                Some(at) => CreateError::Command(error[at..].to_owned()),
                None => CreateError::Runtime(error),
            }),
            Ok(Reply::Exited(_) | Reply::Done) | Err(_) => {
                Err(CreateError::Runtime("the shim ended before the container ran".to_owned()))
            }
        }
    }
}

/// Looks the user up in the container's own files, and gives it its home.
fn resolved(spec: &ContainerSpec) -> Result<ContainerSpec, SpecError> {
    let mut spec = spec.clone();
    let user = match &spec.user {
        User::Name(name) => resolve_user(&spec.rootfs, name)?,
        User::Ids { uid, .. } => resolve_user(&spec.rootfs, &uid.to_string())?,
    };
    if !spec.env.iter().any(|e| e.starts_with("HOME=")) {
        spec.env.push(format!("HOME={}", user.home.as_deref().unwrap_or("/")));
    }
    if let User::Name(_) = spec.user {
        spec.user = User::Ids { uid: user.uid, gid: user.gid, additional_gids: user.additional_gids };
    }
    Ok(spec)
}

fn io_error(action: String) -> impl FnOnce(io::Error) -> CreateError {
    move |source| CreateError::Io { action, source }
}
