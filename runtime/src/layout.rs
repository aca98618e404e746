//! The files of a container and what they hold: written by one side (client or shim), read by the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::{Exit, Started};

/// The OCI runtime spec; its directory is the bundle.
pub(crate) const CONFIG: &str = "config.json";
/// [`ShimConfig`].
pub(crate) const SHIM_CONFIG: &str = "shim.json";
/// The system call filter that the embedded runtime loads, compiled.
pub(crate) const SECCOMP: &str = "seccomp.bpf";
/// Where the shim answers.
pub(crate) const SOCKET: &str = "shim.sock";
/// Where a runtime hands over the terminal's other end.
pub(crate) const CONSOLE_SOCKET: &str = "console.sock";
/// [`StartedRecord`].
pub(crate) const STARTED: &str = "started.json";
/// [`ExitRecord`].
pub(crate) const EXIT: &str = "exit.json";
/// Why the container could not be created.
pub(crate) const ERROR: &str = "error";
/// Where an OCI runtime of another kind writes its own messages.
pub(crate) const RUNTIME_LOG: &str = "runtime.log";
/// Where an OCI runtime of another kind writes the container's pid.
pub(crate) const RUNTIME_PID: &str = "runtime.pid";

/// What a shim is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShimConfig {
    pub(crate) id: String,
    /// The OCI runtime's program; the embedded one if absent.
    pub(crate) runtime: Option<PathBuf>,
    /// Directory of the OCI runtime's own state.
    pub(crate) oci_root: PathBuf,
    pub(crate) log: LogConfig,
    /// The file of the container's memory cgroup that counts what the kernel killed.
    pub(crate) oom_file: Option<PathBuf>,
    /// The container's cgroup, in every hierarchy.
    pub(crate) cgroup_path: PathBuf,
    pub(crate) tty: bool,
    /// The container's v2 cgroup, for the embedded runtime to restrict its devices.
    pub(crate) device_cgroup: Option<PathBuf>,
    /// What the embedded runtime writes to which files before the command is run.
    pub(crate) limit_files: Vec<(PathBuf, String)>,
}

/// Where a container's log goes, and when it is rotated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogConfig {
    pub(crate) path: PathBuf,
    pub(crate) max_size: Option<u64>,
    pub(crate) max_files: u32,
}

/// A container that runs, as a file and as an answer of the shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StartedRecord {
    pub(crate) pid: i32,
    pub(crate) started_at_nanos: u64,
}

/// A container that has ended, as a file and as an answer of the shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) oom_killed: bool,
    pub(crate) lost: bool,
    pub(crate) started_at_nanos: u64,
    pub(crate) finished_at_nanos: u64,
}

/// A request to the shim: one line of JSON.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Answered with `Running` or `Exited`.
    State,
    /// Answered with `Done`, also when the process has just ended.
    Signal { signal: i32 },
    /// Answered with `Exited`, once it has.
    Wait,
}

/// The shim's answer: one line of JSON. The first one, unasked, goes to the client that started it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum Reply {
    Running(StartedRecord),
    Exited(ExitRecord),
    Done,
    Error { error: String },
}

impl From<StartedRecord> for Started {
    fn from(record: StartedRecord) -> Self {
        Self { pid: record.pid, started_at: time(record.started_at_nanos) }
    }
}

impl From<ExitRecord> for Exit {
    fn from(record: ExitRecord) -> Self {
        Self {
            code: record.code,
            signal: record.signal,
            oom_killed: record.oom_killed,
            lost: record.lost,
            started_at: time(record.started_at_nanos),
            finished_at: time(record.finished_at_nanos),
        }
    }
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Reads a record; `None` if there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a new file that only root may read.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path)?.write_all(bytes)
}

/// Writes a record so that a reader sees all of it or none.
pub(crate) fn write_atomically<T: Serialize>(path: &Path, record: &T, sync: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = create(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    if sync {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
