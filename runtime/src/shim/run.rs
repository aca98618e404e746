//! A shim's life: leave the agent, make the container, watch over it, record its end.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{pipe2, setsid};

use super::external::External;
use super::log::Log;
use super::process::{fork_child, install_stdio};
use super::supervise::{Ended, Output, Supervisor};
use super::{console, embedded};
use crate::layout::{
    ERROR, EXIT, ExitRecord, Reply, SHIM_CONFIG, SOCKET, STARTED, ShimConfig, StartedRecord, nanos, read,
    write, write_atomically,
};

/// Runs the shim of the container whose bundle this is. The calling process leaves the shim behind, in a session
/// of its own, and returns; the shim's first reply goes to stdout.
///
/// # Errors
/// If the shim could not even begin.
pub fn run(bundle: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(bundle).with_context(|| format!("can't enter {}", bundle.display()))?;
    setsid().context("can't make a session")?;
    fork_child(|| {
        let reply = match live() {
            Ok(()) => return 0,
            Err(error) => format!("{error:#}"),
        };
        // The file is for an agent that comes later, the reply for the one that waits.
        let _ = write(Path::new(ERROR), reply.as_bytes());
        send(&Reply::Error { error: reply });
        1
    })
    .context("can't fork")?;
    Ok(())
}

fn live() -> anyhow::Result<()> {
    prctl::set_child_subreaper(true)?;
    umask(Mode::from_bits_truncate(0o022));
    // Signals come through a descriptor, and those meant to end the agent's session don't end a container.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
    let config: ShimConfig = read(Path::new(SHIM_CONFIG))?.context("there is no shim.json")?;
    let log = Log::open(&config.log).with_context(|| format!("can't open {}", config.log.path.display()))?;
    let listener = take_listener().context("can't take the socket")?;
    let supervised = start(&config).map_err(anyhow::Error::msg).and_then(|(pid, output)| {
        let record = StartedRecord { pid, started_at_nanos: nanos(SystemTime::now()) };
        write_atomically(Path::new(STARTED), &record, false).context("can't write started.json")?;
        let supervisor = Supervisor::new(listener, &signals, log, output, record.clone())?;
        Ok((supervisor, record))
    });
    let (mut supervisor, record) = match supervised {
        Ok(supervised) => supervised,
        Err(error) => {
            // Also kills what may run already.
            let _ = delete(&config);
            return Err(error);
        }
    };
    send(&Reply::Running(record.clone()));
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    install_stdio(&null, 1)?;
    drop(null);

    let ended = supervisor.watch()?;
    let exit = exit_record(&config, &record, ended);
    write_atomically(Path::new(EXIT), &exit, true)?;
    supervisor.announce(exit);
    if let Err(reason) = delete(&config) {
        // The agent removes what is left when it deletes the container.
        write(Path::new(ERROR), reason.as_bytes())?;
    }
    std::fs::remove_file(SOCKET)?;
    Ok(())
}

/// The agent has made the socket and passed it as stdin.
fn take_listener() -> std::io::Result<UnixListener> {
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    install_stdio(&File::open("/dev/null")?.into(), 0)?;
    Ok(listener)
}

fn start(config: &ShimConfig) -> Result<(i32, Output), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| format!("can't {what}: {error}")
    };
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|e| failed("make a pipe")(e.into()));
    let console = config.tty.then(console::listen).transpose().map_err(failed("listen for the terminal"))?;
    let (stdout, stdout_writer) = pipe()?;
    let (stderr, stderr_writer) = pipe()?;
    let pid = match &config.runtime {
        None => embedded::start(config, &stdout_writer, &stderr_writer)?,
        Some(program) => External::new(program, config).start(stdout_writer, stderr_writer)?,
    };
    match console {
        None => Ok((pid, Output { stdout: Some(stdout), stderr: Some(stderr) })),
        Some(listener) => {
            let terminal = console::receive(&listener).map_err(failed("get the terminal"))?;
            Ok((pid, Output { stdout: Some(terminal), stderr: None }))
        }
    }
}

fn delete(config: &ShimConfig) -> Result<(), String> {
    match &config.runtime {
        None => embedded::delete(config),
        Some(program) => External::new(program, config).delete(),
    }
}

fn exit_record(config: &ShimConfig, started: &StartedRecord, ended: Ended) -> ExitRecord {
    let (code, signal) = match ended {
        Ended::Code(code) => (code, None),
        Ended::Signal(signal) => (128 + signal, Some(signal)),
    };
    ExitRecord {
        code,
        signal,
        oom_killed: config.oom_file.as_deref().is_some_and(oom_killed),
        lost: false,
        started_at_nanos: started.started_at_nanos,
        finished_at_nanos: nanos(SystemTime::now()),
    }
}

/// v1's `memory.oom_control` and v2's `memory.events` both have a line `oom_kill N`.
fn oom_killed(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|l| l.strip_prefix("oom_kill ")).any(|n| n.trim() != "0")
}

fn send(reply: &Reply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    // An agent that died meanwhile finds out from the files.
    let _ = std::io::stdout().write_all(&line);
    let _ = std::io::stdout().flush();
}
