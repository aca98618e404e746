//! Running `wharf`.

use super::Cluster;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
};

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// Checks the exit code and that the error names every one of `words`.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "\"{word}\" is not said: {self:#?}");
        }
    }
}

/// A run that goes on.
pub(crate) struct Background {
    child: Child,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
}

fn command(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    // Nothing of the tester's own environment may count.
    command.env_clear().env("WHARF_CONFIG_DIR", config).env("HOME", config).current_dir(config);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `wharf` with a configuration folder.
pub(crate) fn run_in(config: &Path, args: &[&str]) -> Outcome {
    let output = command(config, args).output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Cluster {
    /// Runs `wharf` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        run_in(self.folder.path(), args)
    }

    /// Starts `wharf`.
    pub(crate) fn background(&self, args: &[&str]) -> Background {
        let mut child = command(self.folder.path(), args).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Background { child, out: BufReader::new(out), err }
    }

    /// Writes a file into the client's folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

impl Background {
    /// The next line that it prints; waits for it.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Closes our end of its output.
    pub(crate) fn hang_up(self) -> (ExitStatus, String) {
        let Background { mut child, out, mut err } = self;
        drop(out);
        let mut said = String::new();
        err.read_to_string(&mut said).unwrap();
        (child.wait().unwrap(), said)
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Outcome {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.err.read_to_string(&mut err).unwrap();
        Outcome { code: self.child.wait().unwrap().code().unwrap_or(-1), out, err }
    }
}
