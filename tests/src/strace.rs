//! What a running program asks of the kernel, as strace saw it.

use crate::{host::Host, wait::wait_for};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::HashMap,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
};
use tempfile::TempDir;

/// One call of the kernel that succeeded. Times are nanoseconds since the epoch, by the system's clock.
///
/// The program is held when strace notes a beginning or an end: what it does after a call has a later beginning than
/// the call's end, on whichever thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its name.
    pub name: String,
    /// The file or connection that it was about: a path, or `TCP:[local->remote]`.
    pub target: String,
    /// When it began.
    pub start: u64,
    /// When it had ended.
    pub end: u64,
    /// What it gave: of a read or write, the number of bytes.
    pub result: i64,
}

impl Syscall {
    /// Whether it is an fsync of some kind that flushed `file`.
    #[must_use]
    pub fn flushes(&self, file: &str) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.target == file
    }

    /// Whether it took bytes from a peer at `address`.
    #[must_use]
    pub fn receives_from(&self, address: &str) -> bool {
        matches!(self.name.as_str(), "recvfrom" | "recvmsg" | "read" | "readv") && self.is_with(address)
    }

    /// Whether it gave bytes to a peer at `address`.
    #[must_use]
    pub fn sends_to(&self, address: &str) -> bool {
        matches!(self.name.as_str(), "sendto" | "sendmsg" | "write" | "writev") && self.is_with(address)
    }

    fn is_with(&self, address: &str) -> bool {
        self.target.starts_with("TCP:") && self.target.contains(&format!("->{address}:"))
    }
}

/// Watches a program until it is stopped.
#[derive(Debug)]
pub struct Strace {
    strace: Child,
    folder: TempDir,
}

impl Strace {
    /// Watches the program `pid` on `host`: its reads, writes and fsyncs. `inject` is what strace is to do to it, as
    /// its `--inject` says.
    ///
    /// # Panics
    /// When strace (package strace) can't be started, or doesn't get hold of the program.
    #[must_use]
    pub fn attach(host: &Host, pid: u32, inject: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let said = folder.path().join("said");
        let mut command = host.command("strace");
        command.args(["--follow-forks", "--decode-fds=all", "--string-limit=0", "--syscall-times=ns"]);
        command.args(["--absolute-timestamps=format:unix,precision:ns", "--successful-only"]);
        command.arg(
            "--trace=fsync,fdatasync,sync_file_range,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg",
        );
        if let Some(inject) = inject {
            command.arg(format!("--inject={inject}"));
        }
        command.arg("--output").arg(folder.path().join("trace")).args(["--attach", &pid.to_string()]);
        let errors = File::create(&said).expect("a file can be made");
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let strace = strace.expect("nsenter can be run");
        let watch = Strace { strace, folder };
        wait_for("strace to attach", 60, || {
            let said = fs::read_to_string(&said).unwrap_or_default();
            assert!(!said.contains("Operation not permitted"), "strace may not trace here: {said}");
            said.contains("attached").then_some(())
        });
        watch
    }

    /// Lets the program go and gives what it did, by the time it began.
    ///
    /// # Panics
    /// When strace left nothing.
    #[must_use]
    pub fn stop(mut self) -> Vec<Syscall> {
        self.detach();
        let path: PathBuf = self.folder.path().join("trace");

        parse(&fs::read_to_string(path).expect("strace writes what it sees"))
    }

    fn detach(&mut self) {
        // nsenter became strace, which lets go of the program when it is interrupted.
        if matches!(self.strace.try_wait(), Ok(None)) {
            let pid = Pid::from_raw(self.strace.id().cast_signed());
            kill(pid, Signal::SIGINT).expect("a child can be signalled");
        }
        self.strace.wait().expect("a child can be waited for");
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.detach();
    }
}

/// The calls in strace's output.
fn parse(text: &str) -> Vec<Syscall> {
    let mut begun: HashMap<&str, (u64, String)> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        // Thread ids are padded to a width.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((at, rest)) = rest.trim_start().split_once(' ') else { continue };
        let Some(at) = nanoseconds(at) else { continue };
        let (start, whole) = if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (at, first.to_owned()));
            continue;
        } else if let Some((_, second)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            let Some((start, first)) = begun.remove(thread) else { continue };
            (start, first + second)
        } else {
            (at, rest.to_owned())
        };
        calls.extend(call(start, &whole));
    }
    calls.sort_by_key(|call: &Syscall| call.start);
    calls
}

/// `name(4<target>, ...) = result <seconds>`.
fn call(start: u64, text: &str) -> Option<Syscall> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, outcome) = rest.rsplit_once(" = ")?;
    let mut outcome = outcome.split_whitespace();
    let result = outcome.next()?.parse().ok()?;
    let took = outcome.next_back()?.strip_prefix('<')?.strip_suffix('>')?;
    let target = arguments.split_once('<').map_or("", |(_, rest)| target(rest));
    Some(Syscall {
        name: name.to_owned(),
        target: target.to_owned(),
        start,
        end: start + nanoseconds(took)?,
        result,
    })
}

/// What stands before the `>` that closes a descriptor's decoration; an arrow's doesn't.
fn target(text: &str) -> &str {
    let mut last = ' ';
    for (at, letter) in text.char_indices() {
        if letter == '>' && last != '-' {
            return &text[..at];
        }
        last = letter;
    }
    text
}

fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    if fraction.len() != 9 {
        return None;
    }
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + fraction.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_others_interrupt_are_put_together() {
        let text = "\
10    1795546120.757446114 recvfrom(5<TCP:[10.88.0.11:7400->10.88.0.2:33308]>, \"\"..., 100, 0, NULL, NULL) = 100 <0.000001000>
10 1795546120.757488959 fdatasync(6</data/raft.redb> <unfinished ...>
11 1795546120.757585201 sendto(5<TCP:[10.88.0.11:7400->10.88.0.2:33308]>, \"\"..., 70, MSG_NOSIGNAL, NULL, 0) = 70 <0.000032480>
11 1795546120.757600000 read(7<anon_inode:[eventfd]>, 0x7f, 8) = 8 <0.000000100>
10 1795546120.759399556 <... fdatasync resumed>) = 0 <0.001899418>
10 1795546120.772817801 +++ exited with 0 +++
";
        let calls = parse(text);
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["recvfrom", "fdatasync", "sendto", "read"]);
        assert!(calls[0].receives_from("10.88.0.2") && !calls[0].receives_from("10.88.0.20"));
        assert_eq!(calls[0].result, 100);
        assert!(calls[1].flushes("/data/raft.redb"));
        assert_eq!((calls[1].start, calls[1].end), (1_795_546_120_757_488_959, 1_795_546_120_759_388_377));
        assert!(calls[2].sends_to("10.88.0.2"));
        assert!(!calls[3].receives_from("10.88.0.2"));
    }
}
