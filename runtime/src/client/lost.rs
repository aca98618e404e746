//! Containers without a shim: those whose shim was killed, and what is left of those that ended.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::{Inner, cgroup, failed};
use crate::api::{RuntimeError, Status};
use crate::layout::{self, EXIT, ExitRecord, SHIM_CONFIG, ShimConfig, nanos};

/// Reported for a container whose real exit code is not known, as if it had been killed.
const LOST_CODE: i32 = 128 + libc::SIGKILL;

impl Inner {
    /// Kills what is left of a container whose shim is gone without a record of its end, and records that.
    pub(crate) fn bury(&self, id: &str) -> Result<Status, RuntimeError> {
        if let Some(error) = self.error_text(id)? {
            return Ok(Status::Failed(error));
        }
        let dir = self.dir(id)?;
        let path = dir.join(SHIM_CONFIG);
        let config: Option<ShimConfig> = layout::read(&path).map_err(|e| failed("can't read", &path, e))?;
        let Some(config) = config else {
            return Ok(Status::Failed("the agent was stopped before the container was created".into()));
        };
        tracing::warn!(id, "the shim of a container was killed; killing the container");
        let host = &self.config.host;
        cgroup::kill_all(host, &config.cgroup_path)
            .map_err(|e| failed("can't end", &config.cgroup_path, e))?;
        let Some(started) = self.started(id)? else {
            return Ok(Status::Failed("the shim was killed before the container ran".into()));
        };
        let record = ExitRecord {
            code: LOST_CODE,
            signal: None,
            oom_killed: false,
            lost: true,
            started_at_nanos: started.started_at_nanos,
            finished_at_nanos: nanos(SystemTime::now()),
        };
        layout::write_atomically(&dir.join(EXIT), &record, true)
            .map_err(|e| failed("can't write to", &dir, e))?;
        Ok(Status::Exited(record.into()))
    }

    /// Removes all that is left of a container that has no shim and no processes any more.
    pub(crate) fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let dir = self.dir(id)?;
        let path = dir.join(SHIM_CONFIG);
        let config: Option<ShimConfig> = layout::read(&path).map_err(|e| failed("can't read", &path, e))?;
        if let Some(config) = config {
            let state = config.oci_root.join(id);
            if state.exists() {
                self.remove_oci_state(&config)?;
            }
            let host = &self.config.host;
            cgroup::kill_all(host, &config.cgroup_path)
                .map_err(|e| failed("can't end", &config.cgroup_path, e))?;
            cgroup::remove(host, &config.cgroup_path)
                .map_err(|e| failed("can't remove", &config.cgroup_path, e))?;
        }
        fs::remove_dir_all(&dir).map_err(|e| failed("can't remove", &dir, e))
    }

    fn remove_oci_state(&self, config: &ShimConfig) -> Result<(), RuntimeError> {
        if let Some(program) = &config.runtime {
            let status = Command::new(program)
                .arg("--root")
                .arg(&config.oci_root)
                .args(["delete", "--force", &config.id])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .map_err(|e| failed("can't run", program, e))?;
            if !status.success() {
                tracing::warn!(id = config.id, %status, "the OCI runtime could not delete a container");
            }
        }
        let state = config.oci_root.join(&config.id);
        match fs::remove_dir_all(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("can't remove", &state, error))
            }
            _ => Ok(()),
        }
    }
}
