//! What the passes of one load share: where files come from, what was found, what may still be spent.

use std::path::{Path, PathBuf};

use crate::env_file::{self, EnvFile, Format};
use crate::interpolate::Variables;
use crate::load::FileSource;
use crate::paths::display;
use crate::report::{Pos, Report};
use crate::tree::{Budget, MAX_FILE_BYTES, Map, Value, build};

/// What all trees of one load may cost together.
const BUDGET: usize = 400_000;

/// What reading one file costs beyond its content, so that files can't include one another for ever.
const FILE_COST: usize = 400;

/// One load.
pub(crate) struct Session<'a> {
    pub(crate) files: &'a dyn FileSource,
    pub(crate) working_dir: PathBuf,
    pub(crate) report: Report,
    pub(crate) budget: Budget,
}

/// A Compose file as it was read.
#[derive(Clone)]
pub(crate) struct RawFile {
    pub(crate) path: PathBuf,
    pub(crate) root: Map,
}

impl<'a> Session<'a> {
    pub(crate) fn new(files: &'a dyn FileSource, working_dir: PathBuf) -> Self {
        Session { files, working_dir, report: Report::default(), budget: Budget::new(BUDGET) }
    }

    /// Reads a Compose file that is named at `pos`.
    pub(crate) fn compose_file(&mut self, path: &Path, pos: Pos) -> Option<RawFile> {
        let text = self.text(path, pos, true)?;
        let name = display(&self.working_dir, path);
        let file = self.report.add_file(name, &text);
        let root = build(&text, file, &mut self.report, &mut self.budget)?;
        match root.value {
            Value::Map(root) => Some(RawFile { path: path.to_owned(), root }),
            Value::Null => {
                self.report.error(Pos::whole(file), "the file is empty, expected a mapping with services");
                None
            }
            Value::Scalar(_) | Value::List(_) => {
                let found = root.describe();
                self.report.error(root.pos, format!("expected a mapping with services, found {found}"));
                None
            }
        }
    }

    /// Reads a file of variables that is named at `pos`. Nothing when it isn't there and needn't be.
    pub(crate) fn env_file(
        &mut self,
        path: &Path,
        pos: Pos,
        required: bool,
        format: Format,
        outer: &Variables,
    ) -> Option<EnvFile> {
        let text = self.text(path, pos, required)?;
        let file = self.report.add_file(display(&self.working_dir, path), &text);
        let at = |line| Pos { file: Some(file), line, column: 1 };
        match env_file::parse(&text, format, outer) {
            Ok(parsed) => {
                for (line, name) in &parsed.unset {
                    self.report.warn_unset(at(*line), name);
                }
                let grown: usize = parsed.variables.iter().map(|(_, value)| 1 + value.len() / 32).sum();
                if !self.budget.take(grown) {
                    self.report.error(pos, "the project is too large once its variables are filled in");
                    return None;
                }
                Some(parsed)
            }
            Err(error) => {
                match error.hint {
                    Some(hint) => self.report.error_hint(at(error.line), error.message, hint),
                    None => self.report.error(at(error.line), error.message),
                }
                None
            }
        }
    }

    fn text(&mut self, path: &Path, pos: Pos, required: bool) -> Option<String> {
        let name = display(&self.working_dir, path);
        if !self.budget.take(FILE_COST) {
            self.report.error(pos, format!("too many files are read, {name:?} is one too many"));
            return None;
        }
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return None,
            Err(error) => {
                self.report.error(pos, format!("cannot read {name:?}: {error}"));
                return None;
            }
        };
        if bytes.len() > MAX_FILE_BYTES {
            let limit = MAX_FILE_BYTES >> 20;
            self.report.error(pos, format!("{name:?} is larger than {limit} MiB"));
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
                self.report.error(pos, format!("{name:?} is not valid UTF-8, first in line {line}"));
                None
            }
        }
    }
}
