//! The project's name: given, from the environment, from a file, or from the folder.

use std::path::Path;

use crate::interpolate::{Variables, substitute};
use crate::load::LoadInput;
use crate::report::{Pos, Report};
use crate::session::RawFile;

/// The variable that names the project, and that holds the name during interpolation.
pub(crate) const VARIABLE: &str = "COMPOSE_PROJECT_NAME";

const RULE: &str =
    "a project's name is lower-case letters, digits, - and _, and begins with a letter or digit";

/// Finds the name. What is wrong with it is reported; the name is usable all the same.
pub(crate) fn project_name(
    input: &LoadInput,
    files: &[RawFile],
    project_dir: &Path,
    variables: &Variables,
    report: &mut Report,
) -> String {
    let given = input.project_name.clone().or_else(|| variables.get(VARIABLE).cloned());
    if let Some(name) = given.filter(|name| !name.is_empty()) {
        return checked(name, Pos::NOWHERE, report);
    }
    for file in files.iter().rev() {
        let Some(entry) = file.root.get("name") else { continue };
        // A failure is reported when the whole file is interpolated.
        let text = entry.value.as_text().and_then(|text| substitute(text, variables, &mut |_| ()).ok());
        if let Some(name) = text.filter(|name| !name.is_empty()) {
            return checked(name, entry.value.pos, report);
        }
    }
    let folder =
        project_dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = folder.chars().filter(|c| is_legal(*c)).collect();
    let name = name.trim_start_matches(['-', '_']).to_owned();
    if name.is_empty() {
        report.error_hint(
            Pos::NOWHERE,
            "the folder's name gives no name for the project",
            "add name: to the file, or give a project name",
        );
    }
    name
}

fn checked(name: String, pos: Pos, report: &mut Report) -> String {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !first || !name.chars().all(is_legal) || name.len() > 63 {
        report.error_hint(pos, format!("{name:?} is no project name"), RULE);
    }
    name
}

fn is_legal(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')
}
