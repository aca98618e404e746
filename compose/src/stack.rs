//! The passes over the files of one project, down to one merged tree.

use std::path::{Path, PathBuf};

use crate::extends::Extender;
use crate::include;
use crate::interpolate::{Variables, interpolate};
use crate::merge;
use crate::normalise::{self, Surroundings};
use crate::report::Pos;
use crate::schema::{self, ROOT};
use crate::session::{RawFile, Session};
use crate::tree::{Map, Node, Value};

/// What the files of one project are read with.
pub(crate) struct Setting<'a> {
    /// The folder that relative paths start from.
    pub(crate) dir: &'a Path,
    /// The variables for interpolation.
    pub(crate) variables: &'a Variables,
    /// The files that included this project, outermost first.
    pub(crate) included_by: &'a [PathBuf],
}

/// Merges files, later ones winning. What is wrong with one is reported, and the rest goes on.
pub(crate) fn merge_files(session: &mut Session<'_>, files: Vec<RawFile>, setting: &Setting<'_>) -> Map {
    let mut merged = Map::new();
    for file in files {
        let root = one_file(session, file, setting);
        merged = merge::files(merged, root);
    }
    merged
}

fn one_file(session: &mut Session<'_>, file: RawFile, setting: &Setting<'_>) -> Map {
    let RawFile { path, root } = file;
    let mut root = prepare(session, root, setting);
    if let Some(includes) = root.shift_remove("include") {
        include::add(session, &mut root, &includes.value, &path, setting);
    }
    if let Some(services) = root.get_mut("services").and_then(|entry| entry.value.as_map_mut()) {
        let prepared = std::mem::take(services);
        *services = Extender::new(session, setting).resolve_all(path, prepared);
    }
    root
}

/// Checks a file's keys, fills in its variables and writes out its short forms.
fn prepare(session: &mut Session<'_>, root: Map, setting: &Setting<'_>) -> Map {
    let Session { report, budget, .. } = session;
    let mut node = Node::new(Pos::NOWHERE, Value::Map(root));
    schema::check(&mut node, &ROOT, "", report);
    interpolate(&mut node, setting.variables, report, budget);
    let around = Surroundings { dir: setting.dir, variables: setting.variables };
    let Some(root) = node.as_map_mut() else { return Map::new() };
    let services = root.get_mut("services").and_then(|entry| entry.value.as_map_mut());
    for (name, entry) in services.into_iter().flatten() {
        normalise::service(&mut entry.value, &format!("services.{name}"), &around, report, budget);
    }
    let volumes = root.get_mut("volumes").and_then(|entry| entry.value.as_map_mut());
    for (name, entry) in volumes.into_iter().flatten() {
        if let Some(labels) = entry.value.as_map_mut().and_then(|map| map.get_mut("labels")) {
            normalise::keyed(&mut labels.value, &format!("volumes.{name}.labels"), report);
        }
    }
    std::mem::take(root)
}
