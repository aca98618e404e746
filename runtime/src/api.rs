//! What the agent asks of a container runtime, as a trait: `client::Shims` is the real
//! one, and the agent's tests put a fake behind it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::spec::{ContainerSpec, User};

/// Runs, watches and removes containers. Every call but `create` is by container id.
#[async_trait]
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Creates and starts a container, and returns once its process runs. On an error nothing is left behind.
    async fn create(&self, request: CreateRequest) -> Result<Started, CreateError>;

    /// Sends a signal to the container's first process. One that has ended is no error.
    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError>;

    /// Sends `signal`, waits up to `grace` for the end, then kills every process of the container.
    /// Returns how it ended; a container that had ended already is no error.
    async fn stop(&self, id: &str, signal: i32, grace: Duration) -> Result<Exit, RuntimeError>;

    /// Returns when the container has ended, at once if it has already. The answer stays until `delete`.
    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError>;

    /// Removes all but the logs of a container, killing it first if it still runs. One that is unknown is no error.
    async fn delete(&self, id: &str) -> Result<(), RuntimeError>;

    /// Removes the logs of a container that has been deleted.
    async fn remove_logs(&self, id: &str) -> Result<(), RuntimeError>;

    /// All containers there are, such as after a restart of the agent. A container whose shim was killed
    /// is killed too and reported as [`Status::Exited`] with [`Exit::lost`].
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// Runs a command inside a running container and waits for it, at most for `timeout`; then it is
    /// killed with all it started.
    async fn exec(&self, id: &str, command: ExecSpec, timeout: Duration) -> Result<ExecOutput, RuntimeError>;

    /// What a running container uses now.
    async fn stats(&self, id: &str) -> Result<Stats, RuntimeError>;

    /// The log being written: a file of Docker's json-file lines. Older ones are next to it, with `.1`, `.2`, ...
    /// appended, `.1` being the newest of them.
    fn log_path(&self, id: &str) -> PathBuf;

    /// Names that [`CreateRequest::runtime`] may have, the default first.
    fn runtime_names(&self) -> Vec<String>;
}

/// What [`ContainerRuntime::create`] needs.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The container.
    pub spec: ContainerSpec,
    /// Name in the table of runtimes; the default if absent.
    pub runtime: Option<String>,
    /// How its log is kept.
    pub log: LogOptions,
}

/// How a container's log is rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOptions {
    /// A file that reaches this many bytes is rotated; never if absent.
    pub max_size: Option<u64>,
    /// Most files kept, the current one included. At least 1.
    pub max_files: u32,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { max_size: Some(10 * 1024 * 1024), max_files: 3 }
    }
}

/// A container that has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its first process, as the host sees it.
    pub pid: i32,
    /// When it started.
    pub started_at: SystemTime,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// Its shim was killed, so that the real exit code is not known; the container was killed too.
    pub lost: bool,
    /// When it started.
    pub started_at: SystemTime,
    /// When it ended.
    pub finished_at: SystemTime,
}

/// A container found by [`ContainerRuntime::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// What it does.
    pub status: Status,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running(Started),
    /// It has ended and waits for `delete`.
    Exited(Exit),
    /// It could not be created, for the reason given, and waits for `delete`.
    Failed(String),
}

/// A command to run inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Command and arguments.
    pub args: Vec<String>,
    /// Variables added to the container's own.
    pub env: Vec<String>,
    /// Working directory; the container's own if absent.
    pub cwd: Option<PathBuf>,
    /// Who runs it; the container's own user if absent.
    pub user: Option<User>,
}

impl ExecSpec {
    /// A command with the container's own environment, directory and user.
    #[must_use]
    pub fn new(args: Vec<String>) -> Self {
        Self { args, env: Vec::new(), cwd: None, user: None }
    }
}

/// What came of an [`ContainerRuntime::exec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code; 128 + signal when a signal ended it. Absent when it was killed at the timeout.
    pub code: Option<i32>,
    /// The first [`EXEC_OUTPUT_LIMIT`] bytes of its stdout and stderr, in the order they came.
    pub output: Vec<u8>,
}

/// Most bytes of output that an exec keeps.
pub const EXEC_OUTPUT_LIMIT: usize = 4096;

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Nanoseconds of cpu time since the start.
    pub cpu_nanos: u64,
    /// Bytes of memory, page cache that can be dropped at once left out.
    pub memory: u64,
    /// Bytes it may use, if limited.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
}

/// Why a container was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The spec can't be run; trying again is of no use.
    #[error("{0}")]
    Invalid(String),
    /// No runtime has this name.
    #[error("no runtime named {name:?} on this node; it has {known}")]
    UnknownRuntime {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A container with this id exists.
    #[error("a container with id {0:?} exists already")]
    Exists(String),
    /// The command is not in the container, or can't be executed.
    #[error("{0}")]
    Command(String),
    /// The OCI runtime refused; its own words.
    #[error("{0}")]
    Runtime(String),
    /// A file or process could not be handled.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl CreateError {
    /// Whether trying again could help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::UnknownRuntime { .. } | Self::Command(_))
    }
}

/// Why a call on a container failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no container with this id.
    #[error("no container with id {0:?}")]
    NotFound(String),
    /// It does not run, so nothing can be run in it or measured.
    #[error("container {0:?} is not running")]
    NotRunning(String),
    /// It could not be created, for the reason given.
    #[error("{0}")]
    Failed(String),
    /// The OCI runtime refused; its own words.
    #[error("{0}")]
    Runtime(String),
    /// A file or process could not be handled.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
}
