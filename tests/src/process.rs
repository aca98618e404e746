//! A program of ours on a host, with its output in a file.

use crate::host::Host;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running program. It is killed when this goes.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` on `host`, appending its output to `log`.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(host: &Host, program: &Path, args: &[String], env: &[(&str, &str)], log: &Path) -> Self {
        let mut command = host.command(program.to_str().expect("the build's path is text"));
        command.args(args).envs(env.iter().copied());
        Process::run(command, log)
    }

    /// Starts a command as it is, appending its output to `log`.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn run(mut command: Command, log: &Path) -> Self {
        let output = OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
        let errors = output.try_clone().expect("a file can be shared");
        command.env("RUST_BACKTRACE", "1").stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} can't be run: {error}", command.get_program().display()));
        Process { child, log: log.to_owned() }
    }

    /// Its process id: nsenter becomes the program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = kill(Pid::from_raw(self.child.id().cast_signed()), signal) {
            eprintln!("signal {signal} to {}: {error}", self.child.id());
        }
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self) {
        if let Err(error) = self.child.wait() {
            eprintln!("wait for {}: {error}", self.child.id());
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What it ended with, once it has ended by itself; -1 when a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        let ended = self.child.try_wait().ok().flatten()?;
        Some(ended.code().unwrap_or(-1))
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        read(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let mut bytes = Vec::new();
        if std::io::Read::read_to_end(&mut file, &mut bytes).is_ok() {
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    text
}
