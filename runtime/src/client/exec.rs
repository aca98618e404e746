//! Commands inside running containers, for health checks: bounded in time and in output.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libcontainer::oci_spec::runtime::{Process, Spec, User as OciUser};
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::{Inner, cgroup, failed};
use crate::api::{EXEC_OUTPUT_LIMIT, ExecOutput, ExecSpec, RuntimeError};
use crate::layout::{self, CONFIG, EXIT, SECCOMP, ShimConfig};
use crate::spec::{User, resolve_user};

static NEXT: AtomicU64 = AtomicU64::new(0);

pub(crate) async fn exec(
    inner: &Inner,
    id: &str,
    command: &ExecSpec,
    timeout: Duration,
) -> Result<ExecOutput, RuntimeError> {
    let dir = inner.dir(id)?;
    if dir.join(EXIT).exists() {
        return Err(RuntimeError::NotRunning(id.to_owned()));
    }
    let config = inner.shim_config(id)?;
    let files = Files::write(&dir, command)?;
    let (reader, writer) =
        pipe2(OFlag::O_CLOEXEC).map_err(|e| failed("can't make a pipe for", &dir, e.into()))?;
    let mut child = start(inner, &dir, &files, writer)?;
    let mut output = Output { pipe: receiver(reader, &dir)?, bytes: Vec::new() };
    let ended = tokio::time::timeout(timeout, output.read_while(&mut child)).await;
    let code = match ended {
        Ok(status) => Some(exit_code(status.map_err(|e| failed("can't wait for an exec in", &dir, e))?)),
        Err(_) => {
            kill_exec(inner, &config, &files, &mut child).await;
            None
        }
    };
    output.take_rest();
    Ok(ExecOutput { code, output: output.bytes })
}

/// The files of one exec, removed with it.
struct Files {
    process: PathBuf,
    pid: PathBuf,
}

impl Files {
    fn write(dir: &Path, command: &ExecSpec) -> Result<Self, RuntimeError> {
        let process = process(dir, command)?;
        let name = format!("exec-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let files = Self { process: dir.join(format!("{name}.json")), pid: dir.join(format!("{name}.pid")) };
        let json = serde_json::to_vec(&process).map_err(|e| failed("can't write to", dir, e.into()))?;
        layout::write(&files.process, &json).map_err(|e| failed("can't write", &files.process, e))?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // They go with the container's directory at the latest.
        let _ = fs::remove_file(&self.process);
        let _ = fs::remove_file(&self.pid);
    }
}

/// The container's own process with another command.
fn process(dir: &Path, command: &ExecSpec) -> Result<Process, RuntimeError> {
    let path = dir.join(CONFIG);
    let spec: Option<Spec> = layout::read(&path).map_err(|e| failed("can't read", &path, e))?;
    let spec = spec.ok_or_else(|| RuntimeError::Runtime(format!("{} is missing", path.display())))?;
    let mut process = spec.process().clone().unwrap_or_default();
    let mut env = process.env().clone().unwrap_or_default();
    for variable in &command.env {
        let key = variable.split('=').next().unwrap_or_default();
        env.retain(|e| e.split('=').next() != Some(key));
        env.push(variable.clone());
    }
    process.set_env(Some(env)).set_args(Some(command.args.clone())).set_terminal(Some(false));
    if let Some(cwd) = &command.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some(user) = &command.user {
        let root = spec.root().as_ref().map(|r| r.path().clone()).unwrap_or_default();
        process.set_user(oci_user(&root, user)?);
    }
    let linux = spec.linux().as_ref();
    if dir.join(SECCOMP).exists() || linux.is_some_and(|l| l.seccomp().is_some()) {
        // Whoever execs is trusted with less than the container's first process: the filter always holds.
        process.set_no_new_privileges(Some(true));
    }
    Ok(process)
}

fn oci_user(rootfs: &Path, user: &User) -> Result<OciUser, RuntimeError> {
    let (uid, gid, additional) = match user {
        User::Ids { uid, gid, additional_gids } => (*uid, *gid, additional_gids.clone()),
        User::Name(name) => {
            let found = resolve_user(rootfs, name).map_err(|e| RuntimeError::Runtime(e.to_string()))?;
            (found.uid, found.gid, found.additional_gids)
        }
    };
    let mut user = OciUser::default();
    user.set_uid(uid).set_gid(gid).set_additional_gids(Some(additional));
    Ok(user)
}

fn start(inner: &Inner, dir: &Path, files: &Files, output: OwnedFd) -> Result<Child, RuntimeError> {
    let program = &inner.config.shim;
    let mut command = Command::new(program);
    command
        .arg("exec")
        .arg(dir)
        .arg(&files.process)
        .arg(&files.pid)
        .env_clear()
        .env("PATH", super::create::PATH);
    let second = output.try_clone().map_err(|e| failed("can't make a pipe for", dir, e))?;
    command.stdin(Stdio::null()).stdout(output).stderr(second).kill_on_drop(true);
    command.spawn().map_err(|e| failed("can't run", program, e))
}

fn receiver(reader: OwnedFd, dir: &Path) -> Result<pipe::Receiver, RuntimeError> {
    pipe::Receiver::from_owned_fd(reader).map_err(|e| failed("can't read the output of an exec in", dir, e))
}

struct Output {
    pipe: pipe::Receiver,
    bytes: Vec<u8>,
}

impl Output {
    /// Reads until the process has ended; what it left running may hold the pipe open for ever.
    async fn read_while(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut open = true;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                ready = self.pipe.readable(), if open => {
                    ready?;
                    open = self.take_rest();
                }
            }
        }
    }

    /// Takes what is there, and keeps it up to the limit. False if no more can come.
    fn take_rest(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    let room = EXEC_OUTPUT_LIMIT - self.bytes.len();
                    self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Kills the process, all that it started, and the program that waits for it.
async fn kill_exec(inner: &Inner, config: &ShimConfig, files: &Files, child: &mut Child) {
    let leader = fs::read_to_string(&files.pid).ok().and_then(|t| t.trim().parse::<i32>().ok());
    if let Some(runtime) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        for pid in descendants(runtime) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    // The process leads a session of its own, so that those it left behind are known by it.
    if let Some(leader) = leader {
        loop {
            let all = cgroup::processes(&inner.config.host, &config.cgroup_path);
            let rest: Vec<i32> = all.into_iter().filter(|pid| session(*pid) == Some(leader)).collect();
            if rest.is_empty() {
                break;
            }
            for pid in rest {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(id = config.id, %error, "could not end an exec");
    }
}

/// All children of a process, and theirs.
fn descendants(pid: i32) -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            if all.insert(child) {
                open.push(child);
            }
        }
    }
    all
}

/// The session of a process that still runs.
fn session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in parentheses, which may hold anything: state, ppid, pgrp, session.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(2)?.parse().ok()
}
