//! The shim's loop while its container runs: the container's output goes to the log, requests are
//! answered, orphans are reaped, until the container's first process has ended.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::log::{Lines, Log, Stream};
use super::serve::Clients;
use crate::layout::{ExitRecord, Reply, Request, StartedRecord};

/// Where a container's output comes from.
pub(crate) struct Output {
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// How a container's first process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

pub(crate) struct Supervisor {
    signals: SignalFd,
    clients: Clients,
    sources: Vec<Source>,
    log: Log,
    started: StartedRecord,
}

struct Source {
    stream: Stream,
    file: File,
    lines: Lines,
}

impl Supervisor {
    pub(crate) fn new(
        listener: UnixListener,
        signals: &SigSet,
        log: Log,
        output: Output,
        started: StartedRecord,
    ) -> io::Result<Self> {
        let mut sources = Vec::with_capacity(2);
        for (stream, fd) in [(Stream::Stdout, output.stdout), (Stream::Stderr, output.stderr)] {
            if let Some(fd) = fd {
                fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                sources.push(Source { stream, file: File::from(fd), lines: Lines::default() });
            }
        }
        let signals = SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, clients: Clients::new(listener), sources, log, started })
    }

    /// Returns when the container's first process has ended and its output is in the log.
    pub(crate) fn watch(&mut self) -> io::Result<Ended> {
        loop {
            // It may have ended before its signal could be seen.
            if let Some(ended) = self.reap()? {
                self.drain();
                return Ok(ended);
            }
            self.wait_for_input()?;
            self.forget_signals();
            let log = &mut self.log;
            self.sources.retain_mut(|source| source.copy_once(log) != Copied::End);
            self.clients.accept();
            let started = &self.started;
            self.clients.serve(|request| answer(request, started));
        }
    }

    /// Tells those who wait how the container ended, and answers who asks from now on.
    pub(crate) fn announce(&mut self, exit: ExitRecord) {
        let reply = Reply::Exited(exit);
        self.clients.announce(&reply);
        self.clients.accept();
        self.clients.serve(|request| match request {
            Request::State | Request::Wait => Some(reply.clone()),
            Request::Signal { .. } => Some(Reply::Done),
        });
    }

    fn wait_for_input(&self) -> io::Result<()> {
        let watched = std::iter::once(self.signals.as_fd())
            .chain(self.sources.iter().map(|s| s.file.as_fd()))
            .chain(self.clients.fds());
        let mut fds: Vec<PollFd<'_>> = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Their only use is to end the wait: children are looked for in any case, and the others are ignored.
    fn forget_signals(&self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
    }

    /// Reaps all children that have ended: the container's first process, and orphans that came to the shim.
    fn reap(&self) -> io::Result<Option<Ended>> {
        let mut ended = None;
        loop {
            let mut status = 0;
            // Not through nix, which takes a child killed by a real-time signal and then returns an error.
            // SAFETY: `status` is a valid place for the kernel to write to.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid == self.started.pid && libc::WIFEXITED(status) {
                ended = Some(Ended::Code(libc::WEXITSTATUS(status)));
            } else if pid == self.started.pid && libc::WIFSIGNALED(status) {
                ended = Some(Ended::Signal(libc::WTERMSIG(status)));
            } else if pid == 0 {
                return Ok(ended);
            } else if pid < 0 {
                match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    _ if ended.is_some() => return Ok(ended),
                    error => return Err(error),
                }
            }
        }
    }

    /// Takes all that is still in the pipes. With the first process its whole pid namespace has ended, so that
    /// nothing comes after that, even if something outside holds a pipe open.
    fn drain(&mut self) {
        for source in &mut self.sources {
            while source.copy_once(&mut self.log) == Copied::Some {}
            let (stream, log) = (source.stream, &mut self.log);
            source.lines.finish(|line| log.line(stream, line));
        }
    }
}

fn answer(request: Request, started: &StartedRecord) -> Option<Reply> {
    match request {
        Request::State => Some(Reply::Running(started.clone())),
        Request::Wait => None,
        Request::Signal { signal } => {
            let sent = Signal::try_from(signal);
            // The pid can't be another's: it is this process's child and has not been reaped.
            let result = match sent {
                Ok(signal) => kill(Pid::from_raw(started.pid), signal),
                Err(_) => real_time(started.pid, signal),
            };
            Some(match result {
                Ok(()) | Err(nix::Error::ESRCH) => Reply::Done,
                Err(error) => Reply::Error { error: format!("can't send signal {signal}: {error}") },
            })
        }
    }
}

/// nix knows no real-time signals.
fn real_time(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: kill takes plain numbers.
    nix::Error::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

#[derive(PartialEq, Eq)]
enum Copied {
    Some,
    Nothing,
    End,
}

impl Source {
    /// Moves what is there into the log, up to a buffer full.
    fn copy_once(&mut self, log: &mut Log) -> Copied {
        let mut buffer = [0; 16 * 1024];
        let stream = self.stream;
        match self.file.read(&mut buffer) {
            Ok(count) if count > 0 => {
                self.lines.push(&buffer[..count], |line| log.line(stream, line));
                Copied::Some
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Copied::Nothing
            }
            // A terminal whose other end is closed answers with an error instead of an end.
            Ok(_) | Err(_) => {
                self.lines.finish(|line| log.line(stream, line));
                Copied::End
            }
        }
    }
}
