//! How the processes that make a container tell the shim what came of it: lines in a pipe that all
//! of them hold until the container's command is executed.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const STARTED: &str = "started ";
const FAILED: &str = "failed ";
const DETAIL: &str = "detail ";

/// The writing end, shared by forked processes; it belongs to whoever made the pipe.
#[derive(Debug, Clone)]
pub(crate) struct ErrorReport {
    fd: RawFd,
}

impl ErrorReport {
    pub(crate) fn new(fd: RawFd) -> Self {
        Self { fd }
    }

    pub(crate) fn started(&self, pid: i32) {
        self.line(STARTED, &pid.to_string());
    }

    pub(crate) fn failed(&self, reason: &str) {
        self.line(FAILED, reason);
    }

    /// libcontainer's errors often say only which step failed, while the cause is in its log. From here on
    /// its errors go into the report, also from the processes forked later.
    pub(crate) fn collect_errors(&self) {
        // It fails only if there is one already, which is then this one.
        let _ = tracing::subscriber::set_global_default(self.clone());
    }

    fn line(&self, kind: &str, text: &str) {
        let line = format!("{kind}{}\n", text.replace('\n', " "));
        // SAFETY: the descriptor is open as long as this process makes a container; the file is never dropped,
        // so it is not closed here.
        let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(self.fd) });
        // There is no one else to tell.
        let _ = file.write_all(line.as_bytes());
    }
}

impl Subscriber for ErrorReport {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.line(DETAIL, &format!("{}{}", text.message, text.fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name}: {value:?}"),
        };
    }
}

/// What a report says in the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Started(i32),
    Failed(String),
}

impl Outcome {
    /// The report is of a success only if nobody failed after the start.
    pub(crate) fn parse(text: &str) -> Self {
        let failed: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(FAILED)).collect();
        let detail = text.lines().find_map(|l| l.strip_prefix(DETAIL));
        let pid = text.lines().find_map(|l| l.strip_prefix(STARTED)?.parse().ok());
        if let Some(command) = failed.iter().find_map(|f| f.find("exec: \"").map(|at| &f[at..])) {
            return Self::Failed(command.to_owned());
        }
        match (failed.first(), detail, pid) {
            (None, _, Some(pid)) => Self::Started(pid),
            (Some(reason), Some(detail), _) if !reason.contains(detail) => {
                Self::Failed(format!("{reason}: {detail}"))
            }
            (Some(reason), ..) => Self::Failed((*reason).to_owned()),
            (None, Some(detail), None) => Self::Failed(detail.to_owned()),
            (None, None, None) => Self::Failed("the process that makes the container was killed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_alone_is_a_start() {
        assert_eq!(Outcome::parse("started 12\n"), Outcome::Started(12));
        assert_eq!(Outcome::parse("detail only a warning\nstarted 12\n"), Outcome::Started(12));
    }

    #[test]
    fn the_cause_is_added_to_the_step() {
        let text = "detail can't open /x\nfailed to create\nfailed mount failed\n";
        assert_eq!(Outcome::parse(text), Outcome::Failed("to create: can't open /x".into()));
        assert!(matches!(Outcome::parse(""), Outcome::Failed(_)));
    }

    #[test]
    fn a_command_that_can_not_run_is_said_as_docker_does() {
        let text = "started 5\nfailed x y exec: \"foo\": no such file or directory\n";
        assert_eq!(Outcome::parse(text), Outcome::Failed("exec: \"foo\": no such file or directory".into()));
    }
}
