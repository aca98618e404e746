//! An OCI runtime that is a program of its own, such as runc or crun, run by its command line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::process::reset_signals;
use crate::layout::{CONSOLE_SOCKET, RUNTIME_LOG, RUNTIME_PID, ShimConfig};

/// One that is run for one container, from the bundle's directory.
pub(crate) struct External<'a> {
    program: &'a Path,
    config: &'a ShimConfig,
}

impl<'a> External<'a> {
    pub(crate) fn new(program: &'a Path, config: &'a ShimConfig) -> Self {
        Self { program, config }
    }

    /// Creates and starts the container, whose first process gets these as stdout and stderr, and returns its pid.
    pub(crate) fn start(&self, stdout: OwnedFd, stderr: OwnedFd) -> Result<i32, String> {
        let log = Path::new(RUNTIME_LOG);
        let mut create = self.command("create", log);
        create.args(["--bundle", ".", "--pid-file", RUNTIME_PID]);
        if self.config.tty {
            create.args(["--console-socket", CONSOLE_SOCKET]);
        }
        create.arg(&self.config.id).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        self.run(create, log)?;
        let pid = self.pid(Path::new(RUNTIME_PID))?;
        let mut start = self.command("start", log);
        start.arg(&self.config.id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(start, log)?;
        Ok(pid)
    }

    /// Removes what the runtime keeps of the container, and kills what is left of it.
    pub(crate) fn delete(&self) -> Result<(), String> {
        let log = Path::new(RUNTIME_LOG);
        let mut delete = self.command("delete", log);
        delete.args(["--force", &self.config.id]);
        delete.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(delete, log)
    }

    /// Starts a process in the running container, with this process's stdio, and returns its pid.
    pub(crate) fn exec(&self, process: &Path, pid_file: &Path) -> Result<i32, String> {
        // Not the container's: whatever goes wrong here is told once, and a health check can go wrong for ever.
        let log = pid_file.with_extension("log");
        let mut exec = self.command("exec", &log);
        exec.arg("--detach")
            .arg("--process")
            .arg(process)
            .arg("--pid-file")
            .arg(pid_file)
            .arg(&self.config.id);
        let result = self.run(exec, &log).and_then(|()| self.pid(pid_file));
        let _ = fs::remove_file(log);
        result
    }

    fn pid(&self, file: &Path) -> Result<i32, String> {
        let pid = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
        pid.ok_or_else(|| format!("{} wrote no pid", self.program.display()))
    }

    fn command(&self, verb: &str, log: &Path) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--root").arg(&self.config.oci_root);
        command.arg("--log").arg(log).args(["--log-format", "json", verb]);
        // SAFETY: called between fork and exec of a process with one thread; it only makes system calls.
        unsafe {
            command.pre_exec(|| {
                reset_signals();
                Ok(())
            });
        }
        command
    }

    fn run(&self, mut command: Command, log: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("can't run {}: {error}", self.program.display());
        let status = command.status().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(last_error(log).unwrap_or_else(|| format!("{} failed: {status}", self.program.display())))
    }
}

/// The message of the last error in a runtime's log.
fn last_error(path: &Path) -> Option<String> {
    let lines = BufReader::new(File::open(path).ok()?).lines().map_while(Result::ok);
    let messages = lines.filter_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(&line).ok()?;
        let level = entry.get("level")?.as_str()?;
        let message = entry.get("msg")?.as_str()?.trim().to_owned();
        matches!(level, "error" | "fatal" | "panic").then_some(message)
    });
    messages.last()
}
