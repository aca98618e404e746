//! The agent's side of the shims: starts one per container, talks to it, and finds all of them
//! again after a restart. It holds no state that the files do not hold too.

mod bundle;
mod cgroup;
mod create;
mod exec;
mod filters;
mod limits;
mod lost;
mod talk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::api::{
    ContainerRuntime, CreateError, CreateRequest, ExecOutput, ExecSpec, Exit, Listed, RuntimeError, Started,
    Stats, Status,
};
use crate::host::HostFacts;
use crate::layout::{
    self, ERROR, EXIT, ExitRecord, Reply, Request, SHIM_CONFIG, STARTED, ShimConfig, StartedRecord,
};
use crate::runtimes::Runtimes;
use crate::spec::valid_id;
use filters::Filters;

/// The tiny init of containers that ask for one: a static program, as it runs in any root filesystem.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wharf-init"));
/// Longest wait for a shim to finish after its container has ended.
const SHIM_END: Duration = Duration::from_secs(20);
/// Containers made at a time, for each processor. More only makes them wait for each other in the kernel.
const CREATES_PER_CPU: usize = 2;

/// What [`Shims`] needs to know.
#[derive(Debug, Clone)]
pub struct ShimsConfig {
    /// The program `wharf-shim`.
    pub shim: PathBuf,
    /// Where the files of running containers are; a directory that does not outlive a reboot, such as one in `/run`.
    pub run_dir: PathBuf,
    /// Where logs are.
    pub log_dir: PathBuf,
    /// The runtimes to choose from.
    pub runtimes: Runtimes,
    /// This machine.
    pub host: HostFacts,
}

/// All containers of a node.
#[derive(Debug, Clone)]
pub struct Shims {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ShimsConfig,
    filters: Filters,
    creates: Semaphore,
}

impl Shims {
    /// Prepares the directories. Containers of an earlier agent are found with [`ContainerRuntime::list`].
    ///
    /// # Errors
    /// If the directories or the init program can't be made.
    pub fn new(mut config: ShimsConfig) -> io::Result<Self> {
        for directory in [&config.run_dir, &config.log_dir] {
            make_private_dir(directory)?;
        }
        config.run_dir = config.run_dir.canonicalize()?;
        config.log_dir = config.log_dir.canonicalize()?;
        config.shim = config.shim.canonicalize()?;
        let creates = Semaphore::new(CREATES_PER_CPU * usize::try_from(config.host.cpus).unwrap_or(1).max(1));
        let inner = Inner { filters: Filters::new(config.shim.clone()), creates, config };
        inner.remove_unfinished()?;
        inner.install_init()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the files of running containers are.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.inner.config.run_dir
    }

    /// Runs file and process work where it may block.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> T {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The container's end, if it is recorded.
    fn recorded_exit(&self, id: &str) -> Result<Option<Exit>, RuntimeError> {
        let path = self.inner.dir(id)?.join(EXIT);
        let record: Option<ExitRecord> = layout::read(&path).map_err(|e| failed("can't read", &path, e))?;
        Ok(record.map(Exit::from))
    }

    /// Asks the shim; `None` if it is not there any more.
    async fn ask(&self, id: &str, request: Request) -> Result<Option<Reply>, RuntimeError> {
        let dir = self.inner.dir(id)?;
        talk::ask(&dir, &request).await.map_err(|e| failed("can't talk to the shim in", &dir, e))
    }

    async fn status(&self, id: &str) -> Result<Status, RuntimeError> {
        if let Some(exit) = self.recorded_exit(id)? {
            return Ok(Status::Exited(exit));
        }
        match self.ask(id, Request::State).await? {
            Some(Reply::Running(record)) => Ok(Status::Running(record.into())),
            Some(Reply::Exited(record)) => Ok(Status::Exited(record.into())),
            Some(Reply::Error { error }) => Err(RuntimeError::Runtime(error)),
            Some(Reply::Done) | None => self.after_shim(id).await,
        }
    }

    /// What became of a container whose shim is gone.
    async fn after_shim(&self, id: &str) -> Result<Status, RuntimeError> {
        if let Some(exit) = self.recorded_exit(id)? {
            return Ok(Status::Exited(exit));
        }
        let owned = id.to_owned();
        self.blocking(move |inner| inner.bury(&owned)).await
    }

    /// Waits until the shim has ended, so that nothing writes to the container's files any more.
    async fn shim_ended(&self, id: &str) -> Result<(), RuntimeError> {
        let dir = self.inner.dir(id)?;
        if tokio::time::timeout(SHIM_END, talk::until_closed(&dir)).await.is_err() {
            return Err(RuntimeError::Runtime(format!(
                "the shim of {id:?} does not end; see {}",
                dir.display()
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl ContainerRuntime for Shims {
    async fn create(&self, request: CreateRequest) -> Result<Started, CreateError> {
        let permit = self.inner.creates.acquire().await;
        let result = self.blocking(move |inner| inner.create(&request)).await;
        drop(permit);
        result
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        match self.ask(id, Request::Signal { signal }).await? {
            Some(Reply::Error { error }) => Err(RuntimeError::Runtime(error)),
            Some(_) => Ok(()),
            None => self.after_shim(id).await.map(drop),
        }
    }

    async fn stop(&self, id: &str, signal: i32, grace: Duration) -> Result<Exit, RuntimeError> {
        if let Some(exit) = self.recorded_exit(id)? {
            return Ok(exit);
        }
        self.signal(id, signal).await?;
        if let Ok(ended) = tokio::time::timeout(grace, self.wait(id)).await {
            return ended;
        }
        // The first process takes its whole pid namespace with it.
        self.signal(id, libc::SIGKILL).await?;
        self.wait(id).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        if let Some(exit) = self.recorded_exit(id)? {
            return Ok(exit);
        }
        match self.ask(id, Request::Wait).await? {
            Some(Reply::Exited(record)) => Ok(record.into()),
            Some(Reply::Error { error }) => Err(RuntimeError::Runtime(error)),
            Some(Reply::Running(_) | Reply::Done) => {
                Err(RuntimeError::Runtime("the shim gave a wrong answer".into()))
            }
            None => match self.after_shim(id).await? {
                Status::Exited(exit) => Ok(exit),
                Status::Failed(reason) => Err(RuntimeError::Failed(reason)),
                Status::Running(_) => Err(RuntimeError::Runtime("the shim is gone".into())),
            },
        }
    }

    async fn delete(&self, id: &str) -> Result<(), RuntimeError> {
        match self.status(id).await {
            Ok(Status::Running(_)) => {
                self.signal(id, libc::SIGKILL).await?;
                self.wait(id).await?;
            }
            Ok(Status::Exited(_) | Status::Failed(_)) => {}
            Err(RuntimeError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.shim_ended(id).await?;
        let owned = id.to_owned();
        self.blocking(move |inner| inner.remove(&owned)).await
    }

    async fn remove_logs(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(dir) = self.log_path(id).parent().map(Path::to_owned) else { return Ok(()) };
        if !valid_id(id) {
            return Ok(());
        }
        match tokio::fs::remove_dir_all(&dir).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("can't remove", &dir, error)),
            _ => Ok(()),
        }
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let run_dir = &self.inner.config.run_dir;
        let entries = std::fs::read_dir(run_dir).map_err(|e| failed("can't read", run_dir, e))?;
        let mut listed = Vec::new();
        for entry in entries.flatten() {
            let Some(id) = entry.file_name().to_str().filter(|n| valid_id(n)).map(str::to_owned) else {
                continue;
            };
            match self.status(&id).await {
                Ok(status) => listed.push(Listed { id, status }),
                // Deleted meanwhile.
                Err(RuntimeError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    async fn exec(&self, id: &str, command: ExecSpec, timeout: Duration) -> Result<ExecOutput, RuntimeError> {
        exec::exec(&self.inner, id, &command, timeout).await
    }

    async fn stats(&self, id: &str) -> Result<Stats, RuntimeError> {
        if self.recorded_exit(id)?.is_some() {
            return Err(RuntimeError::NotRunning(id.to_owned()));
        }
        let config = self.inner.shim_config(id)?;
        Ok(cgroup::stats(&self.inner.config.host, &config.cgroup_path))
    }

    fn log_path(&self, id: &str) -> PathBuf {
        self.inner.log_path(id)
    }

    fn runtime_names(&self) -> Vec<String> {
        self.inner.config.runtimes.names()
    }
}

impl Inner {
    /// The container's directory, if there is such a container.
    fn dir(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        let not_found = || RuntimeError::NotFound(id.to_owned());
        if !valid_id(id) {
            return Err(not_found());
        }
        let dir = self.config.run_dir.join(id);
        if dir.is_dir() { Ok(dir) } else { Err(not_found()) }
    }

    fn log_path(&self, id: &str) -> PathBuf {
        self.config.log_dir.join(id).join("json.log")
    }

    /// State of the OCI runtimes; its name can't be a container's.
    fn oci_root(&self) -> PathBuf {
        self.config.run_dir.join(".oci")
    }

    fn init_path(&self) -> PathBuf {
        self.config.run_dir.join(".init")
    }

    fn shim_config(&self, id: &str) -> Result<ShimConfig, RuntimeError> {
        let path = self.dir(id)?.join(SHIM_CONFIG);
        let config = layout::read(&path).map_err(|e| failed("can't read", &path, e))?;
        config.ok_or_else(|| RuntimeError::NotFound(id.to_owned()))
    }

    fn started(&self, id: &str) -> Result<Option<StartedRecord>, RuntimeError> {
        let path = self.dir(id)?.join(STARTED);
        layout::read(&path).map_err(|e| failed("can't read", &path, e))
    }

    fn error_text(&self, id: &str) -> Result<Option<String>, RuntimeError> {
        Ok(std::fs::read_to_string(self.dir(id)?.join(ERROR)).ok().filter(|t| !t.is_empty()))
    }

    /// Removes what an earlier agent was writing when it was stopped.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.config.run_dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|n| n.starts_with(create::NEW_PREFIX)) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// By renaming, as containers of an earlier agent may be running the old file.
    fn install_init(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.init_path();
        if std::fs::read(&path).is_ok_and(|old| old == INIT) {
            return Ok(());
        }
        let temporary = path.with_extension("new");
        layout::write(&temporary, INIT)?;
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o555))?;
        std::fs::rename(&temporary, &path)
    }
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn failed(what: &str, path: &Path, source: io::Error) -> RuntimeError {
    RuntimeError::Io { action: format!("{what} {}", path.display()), source }
}
