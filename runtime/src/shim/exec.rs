//! A command inside a running container: a short-lived process of its own, started by the agent,
//! that waits for the command and ends as it ends. The shim has no part in it.

use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::embedded;
use super::external::External;
use super::process::wait_for;
use crate::layout::{SHIM_CONFIG, ShimConfig, read};

/// Runs the process that a file describes as the OCI spec does, in the running container of this bundle, with the
/// stdio of the calling process. Its pid goes to a file. Returns its exit code.
///
/// # Errors
/// If it can't be started.
pub fn exec(bundle: &Path, process: &Path, pid_file: &Path) -> anyhow::Result<i32> {
    // With the OCI runtime gone, the command becomes a child of this process.
    prctl::set_child_subreaper(true)?;
    let config: ShimConfig = read(&bundle.join(SHIM_CONFIG))?.context("there is no such container")?;
    let started = match &config.runtime {
        None => embedded::exec(&config, bundle, process, pid_file),
        Some(program) => External::new(program, &config).exec(process, pid_file),
    };
    let pid = started.map_err(anyhow::Error::msg)?;
    match wait_for(Pid::from_raw(pid))? {
        WaitStatus::Exited(_, code) => Ok(code),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
        other => bail!("the command ended in an unexpected way: {other:?}"),
    }
}
