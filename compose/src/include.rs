//! `include`: other projects whose services and volumes become part of this one.

use std::path::{Path, PathBuf};

use crate::env_file::Format;
use crate::interpolate::Variables;
use crate::paths::{absolute, display};
use crate::report::Pos;
use crate::session::Session;
use crate::stack::{Setting, merge_files};
use crate::tree::{Map, Node, Value};

/// How deep projects may include projects.
const MAX_DEPTH: usize = 16;

/// Adds what the entries of `include` name to the tree of `path`.
pub(crate) fn add(
    session: &mut Session<'_>,
    root: &mut Map,
    includes: &Node,
    path: &Path,
    setting: &Setting<'_>,
) {
    let Value::List(entries) = &includes.value else {
        if !includes.is_null() {
            let found = includes.describe();
            session.report.error(includes.pos, format!("include: expected a list, found {found}"));
        }
        return;
    };
    let mut included_by = setting.included_by.to_vec();
    included_by.push(path.to_owned());
    for (index, entry) in entries.iter().enumerate() {
        if let Some(tree) = project(session, entry, &format!("include[{index}]"), &included_by, setting) {
            add_project(session, root, tree, entry.pos);
        }
    }
}

/// One entry: its files, the folder its paths start from, and its own files of variables.
struct Include {
    files: Vec<(PathBuf, Pos)>,
    dir: PathBuf,
    env_files: Option<Vec<(PathBuf, Pos)>>,
}

fn project(
    session: &mut Session<'_>,
    entry: &Node,
    path: &str,
    included_by: &[PathBuf],
    setting: &Setting<'_>,
) -> Option<Map> {
    let include = read(session, entry, path, setting.dir)?;
    if included_by.len() > MAX_DEPTH {
        session.report.error(entry.pos, format!("projects include projects more than {MAX_DEPTH} deep"));
        return None;
    }
    let mut files = Vec::new();
    for (file, pos) in &include.files {
        if included_by.contains(file) {
            let names: Vec<String> =
                included_by.iter().chain([file]).map(|file| display(&session.working_dir, file)).collect();
            session.report.error(*pos, format!("files include one another: {}", names.join(" -> ")));
            return None;
        }
        files.push(session.compose_file(file, *pos)?);
    }
    let variables = variables(session, &include, setting.variables);
    let setting = Setting { dir: &include.dir, variables: &variables, included_by };
    Some(merge_files(session, files, &setting))
}

fn read(session: &mut Session<'_>, entry: &Node, path: &str, dir: &Path) -> Option<Include> {
    let (files, folder, env_files) = match &entry.value {
        Value::Map(map) => {
            let get = |key: &str| map.get(key).map(|entry| &entry.value).filter(|node| !node.is_null());
            (get("path"), get("project_directory"), get("env_file"))
        }
        Value::Scalar(_) => (Some(entry), None, None),
        Value::Null | Value::List(_) => (None, None, None),
    };
    let Some(files) = files else {
        session.report.error_hint(
            entry.pos,
            format!("{path}: expected a path, found {}", entry.describe()),
            "write a path, or a mapping with path:",
        );
        return None;
    };
    let files = paths(session, files, &format!("{path}.path"), dir)?;
    let project_dir = match folder {
        Some(folder) => {
            paths(session, folder, &format!("{path}.project_directory"), dir)?.into_iter().next()?.0
        }
        None => files.first()?.0.parent().map_or_else(|| dir.to_owned(), Path::to_owned),
    };
    let env_files = match env_files {
        Some(node) => Some(paths(session, node, &format!("{path}.env_file"), dir)?),
        None => None,
    };
    Some(Include { files, dir: project_dir, env_files })
}

/// A path or a list of paths.
fn paths(session: &mut Session<'_>, node: &Node, path: &str, dir: &Path) -> Option<Vec<(PathBuf, Pos)>> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Null | Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(node),
    };
    let mut found = Vec::new();
    for item in items {
        match item.as_text().filter(|text| !text.is_empty()) {
            Some(text) if text.contains("://") => {
                session.report.error(item.pos, format!("{path}: files from elsewhere are not supported yet"));
            }
            Some(text) => found.push((absolute(dir, Path::new(text)), item.pos)),
            None => {
                session.report.error(item.pos, format!("{path}: expected a path, found {}", item.describe()));
            }
        }
    }
    (found.len() == items.len() && !found.is_empty()).then_some(found)
}

/// The variables of an included project: its own files', under those of the project that includes it.
fn variables(session: &mut Session<'_>, include: &Include, outer: &Variables) -> Variables {
    let (files, required) = match &include.env_files {
        Some(files) => (files.clone(), true),
        None => (vec![(include.dir.join(".env"), Pos::NOWHERE)], false),
    };
    let mut variables = Variables::new();
    for (file, pos) in &files {
        if let Some(parsed) = session.env_file(file, *pos, required, Format::Usual, outer) {
            variables.extend(parsed.variables);
        }
    }
    variables.extend(outer.iter().map(|(name, value)| (name.clone(), value.clone())));
    variables
}

/// Adds an included project's parts. The same part from two sides is fine as long as both say the same.
fn add_project(session: &mut Session<'_>, root: &mut Map, mut tree: Map, pos: Pos) {
    for section in ["services", "volumes", "networks"] {
        let Some(mut entry) = tree.shift_remove(section) else { continue };
        let Some(parts) = entry.value.as_map_mut().map(std::mem::take) else { continue };
        let slot = root.entry(section.to_owned()).or_insert_with(|| {
            entry.value.value = Value::Map(Map::new());
            entry
        });
        if slot.value.is_null() {
            slot.value.value = Value::Map(Map::new());
        }
        let Some(own) = slot.value.as_map_mut() else { continue };
        for (name, part) in parts {
            match own.get(&name) {
                None => {
                    own.insert(name, part);
                }
                Some(existing) if existing.value.same(&part.value) => {}
                Some(existing) => session.report.error_hint(
                    existing.key_pos,
                    format!("{section}.{name} is defined here and, differently, in an included file"),
                    format!(
                        "rename one of them, or change it in a further file given with -f (included in line {})",
                        pos.line
                    ),
                ),
            }
        }
    }
}
