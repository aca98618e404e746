//! The embedded OCI runtime: libcontainer, in short-lived children of the shim. A fork without an
//! exec saves loading and linking the program again for every container, and what libcontainer
//! allocates never stays in the shim.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::Context;
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::devices;
use super::executor::CommandExecutor;
use super::process::{fork_child, install_stdio, read_text, reset_signals, wait_for};
use super::report::{ErrorReport, Outcome};
use super::seccomp::Program;
use crate::layout::{CONSOLE_SOCKET, SECCOMP, ShimConfig};

/// Creates and starts the container in the bundle that is the current directory; its first process gets these
/// as stdout and stderr. Returns its pid once it runs the command; it is then a child of this process.
pub(crate) fn start(config: &ShimConfig, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<i32, String> {
    // Every process on the way to the container holds the writing end until the command is executed, so that
    // the end of the stream means that it was, or that all have failed.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("can't make a pipe: {e}"))?;
    let child = fork_child(|| {
        let report = ErrorReport::new(writer.as_raw_fd());
        match create(config, stdout, stderr, &report) {
            Ok(pid) => report.started(pid),
            Err(error) => report.failed(&format!("{error:#}")),
        }
        0
    })
    .map_err(|e| format!("can't fork: {e}"))?;
    drop(writer);
    let text = read_text(reader);
    let _ = wait_for(child);
    match Outcome::parse(&text) {
        Outcome::Started(pid) => Ok(pid),
        Outcome::Failed(reason) => Err(reason),
    }
}

fn create(
    config: &ShimConfig,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    report: &ErrorReport,
) -> anyhow::Result<i32> {
    reset_signals();
    install_stdio(&File::open("/dev/null")?.into(), 0)?;
    install_stdio(stdout, 1)?;
    install_stdio(stderr, 2)?;
    report.collect_errors();
    let bundle = std::env::current_dir()?;
    let console = config.tty.then(|| bundle.join(CONSOLE_SOCKET));
    let mut container = ContainerBuilder::new(config.id.clone(), SyscallType::default())
        .with_root_path(&config.oci_root)?
        .with_console_socket(console)
        .with_executor(CommandExecutor { filter: filter(&bundle)?, report: report.clone() })
        .as_init(&bundle)
        .with_systemd(false)
        .build()?;
    let pid = container.pid().context("libcontainer tells no pid")?;
    // The cgroup exists by now, and nothing of the image has run yet.
    if let Some(cgroup) = &config.device_cgroup {
        devices::restrict(cgroup).context("can't restrict the container's devices")?;
    }
    for (file, value) in &config.limit_files {
        std::fs::write(file, value).with_context(|| format!("can't write {value} to {}", file.display()))?;
    }
    container.start()?;
    Ok(pid.as_raw())
}

/// Removes what libcontainer keeps of the container, and kills what is left of it.
pub(crate) fn delete(config: &ShimConfig) -> Result<(), String> {
    let root = config.oci_root.join(&config.id);
    if !root.exists() {
        return Ok(());
    }
    let mut container = Container::load(root).map_err(|e| e.to_string())?;
    container.delete(true).map_err(|e| e.to_string())
}

fn filter(bundle: &Path) -> anyhow::Result<Option<Program>> {
    match Program::read(&bundle.join(SECCOMP)) {
        Ok(program) => Ok(Some(program)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("can't read the compiled seccomp filter"),
    }
}

/// Starts a process in a running container, with this process's stdio, and returns its pid. It is a child of this
/// process.
pub(crate) fn exec(
    config: &ShimConfig,
    bundle: &Path,
    process: &Path,
    pid_file: &Path,
) -> Result<i32, String> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("can't make a pipe: {e}"))?;
    let report = ErrorReport::new(writer.as_raw_fd());
    report.collect_errors();
    match join(config, bundle, process, pid_file, &report) {
        Ok(pid) => report.started(pid),
        Err(error) => report.failed(&format!("{error:#}")),
    }
    drop(writer);
    match Outcome::parse(&read_text(reader)) {
        Outcome::Started(pid) => Ok(pid),
        Outcome::Failed(reason) => Err(reason),
    }
}

fn join(
    config: &ShimConfig,
    bundle: &Path,
    process: &Path,
    pid_file: &Path,
    report: &ErrorReport,
) -> anyhow::Result<i32> {
    let pid = ContainerBuilder::new(config.id.clone(), SyscallType::default())
        .with_root_path(&config.oci_root)?
        .with_pid_file(Some(pid_file))?
        .with_executor(CommandExecutor { filter: filter(bundle)?, report: report.clone() })
        .as_tenant()
        .with_detach(true)
        .with_process(Some(process))
        .build()?;
    Ok(pid.as_raw())
}
