//! The way in: what a caller hands in, what comes back, and the order of the passes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::env_file::Format;
use crate::interpolate::Variables;
use crate::merge;
use crate::model::Project;
use crate::name::{self, project_name};
use crate::parse;
use crate::paths::absolute;
use crate::report::Pos;
use crate::session::Session;
use crate::stack::{Setting, merge_files};

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

/// Reads Compose files, merges them, fills in variables, checks everything and gives the project.
///
/// # Errors
/// Everything that is wrong, as far as it can be found in one go, warnings included.
pub fn load(input: &LoadInput, files: &dyn FileSource) -> Result<Loaded, Diagnostics> {
    let mut session = Session::new(files, input.working_dir.clone());
    let project = read(&mut session, input);
    let failed = session.report.has_errors();
    let diagnostics = session.report.finish();
    match project {
        Some(project) if !failed => Ok(Loaded { project, warnings: diagnostics.0 }),
        _ => Err(diagnostics),
    }
}

fn read(session: &mut Session<'_>, input: &LoadInput) -> Option<Project> {
    if input.files.is_empty() {
        session.report.error_hint(Pos::NOWHERE, "no Compose file is given", "name one with -f");
        return None;
    }
    let mut raw = Vec::new();
    for path in &input.files {
        // The source alone knows what `-` stands for.
        let path = if path == STDIN { path.clone() } else { absolute(&input.working_dir, path) };
        raw.extend(session.compose_file(&path, Pos::NOWHERE));
    }
    if raw.len() < input.files.len() {
        return None;
    }
    let project_dir = project_dir(input);
    let mut variables = variables(session, input, &project_dir);
    let name = project_name(input, &raw, &project_dir, &variables, &mut session.report);
    variables.insert(name::VARIABLE.to_owned(), name.clone());
    let setting = Setting { dir: &project_dir, variables: &variables, included_by: &[] };
    let mut root = merge_files(session, raw, &setting);
    merge::drop_reset(&mut root);
    Some(parse::project(session, &root, name, &variables))
}

/// The path that stands for standard input.
const STDIN: &str = "-";

fn project_dir(input: &LoadInput) -> PathBuf {
    if let Some(dir) = &input.project_dir {
        return absolute(&input.working_dir, dir);
    }
    let first = input.files.iter().find(|path| *path != STDIN);
    match first {
        Some(path) => {
            let path = absolute(&input.working_dir, path);
            path.parent().map_or_else(|| input.working_dir.clone(), Path::to_owned)
        }
        None => input.working_dir.clone(),
    }
}

/// The environment, and below it what the files of variables say.
fn variables(session: &mut Session<'_>, input: &LoadInput, project_dir: &Path) -> Variables {
    let (files, required) = match &input.env_files {
        Some(files) => (files.iter().map(|file| absolute(&input.working_dir, file)).collect(), true),
        None => (vec![project_dir.join(".env")], false),
    };
    let mut variables = Variables::new();
    for file in &files {
        let parsed = session.env_file(file, Pos::NOWHERE, required, Format::Usual, &input.environment);
        variables.extend(parsed.into_iter().flat_map(|parsed| parsed.variables));
    }
    variables.extend(input.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    variables
}
