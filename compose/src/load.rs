//! What a caller hands in and gets back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::model::Project;

/// The names a Compose file has when none is given, best first, as Docker looks for them.
pub const DEFAULT_FILE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Where files come from.
pub trait FileSource {
    /// The whole content of a file. Paths are absolute, but for `-` when the caller named it.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

impl<F: Fn(&Path) -> io::Result<Vec<u8>>> FileSource for F {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self(path)
    }
}

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadInput {
    /// The Compose files, later ones winning. At least one.
    pub files: Vec<PathBuf>,
    /// A project name that goes before every other.
    pub project_name: Option<String>,
    /// What relative paths in the files start from; the first file's folder when absent.
    pub project_dir: Option<PathBuf>,
    /// The absolute current directory: what relative paths in this struct start from.
    pub working_dir: PathBuf,
    /// The environment: variables for interpolation, and values for `environment` entries without one.
    pub environment: BTreeMap<String, String>,
    /// Files with more variables, later ones winning, the environment winning over all.
    /// Absent means `.env` in the project folder, if there is one.
    pub env_files: Option<Vec<PathBuf>>,
}

/// A project, and what was odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// Findings of severity [`Severity::Warning`](crate::Severity::Warning).
    pub warnings: Vec<Diagnostic>,
}
