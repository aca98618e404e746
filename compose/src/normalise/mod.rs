//! Writes the short forms of a service out in full, so that merging and reading know one form each.

mod hosts;
mod mounts;
mod pairs;
mod ports;

use std::path::Path;

use crate::interpolate::Variables;
use crate::paths::host_path;
use crate::report::Report;
use crate::schema::join;
use crate::tree::{Budget, Map, MergeTag, Node, Value};

pub(crate) use pairs::keyed;

/// What the short forms of one file are read with.
pub(crate) struct Surroundings<'a> {
    /// The folder that relative paths start from.
    pub(crate) dir: &'a Path,
    /// Values of environment entries without one, and the home folder.
    pub(crate) variables: &'a Variables,
}

/// Writes out the short forms of a service.
pub(crate) fn service(
    node: &mut Node,
    path: &str,
    around: &Surroundings<'_>,
    report: &mut Report,
    budget: &mut Budget,
) {
    let Some(map) = node.as_map_mut() else { return };
    for name in ["environment", "labels", "sysctls"] {
        if let Some(entry) = map.get_mut(name) {
            keyed(&mut entry.value, &join(path, name), report);
        }
    }
    if let Some(environment) = map.get_mut("environment") {
        take_from_outside(&mut environment.value, around.variables);
    }
    if let Some(labels) = inner(map, "deploy", "labels") {
        keyed(labels, &format!("{path}.deploy.labels"), report);
    }
    if let Some(entry) = map.get_mut("extends")
        && let Value::Scalar(_) = entry.value.value
    {
        let name = entry.value.clone();
        entry.value = Node::object(name.pos, [("service", name)]);
    }
    if let Some(entry) = map.get_mut("extra_hosts") {
        hosts::write_out(&mut entry.value, &join(path, "extra_hosts"), report);
    }
    if let Some(entry) = map.get_mut("env_file") {
        env_files(&mut entry.value, &join(path, "env_file"), around, report);
    }
    if let Some(entry) = map.get_mut("tmpfs") {
        listed(&mut entry.value);
    }
    if let Some(entry) = map.get_mut("ports") {
        ports::write_out(&mut entry.value, &join(path, "ports"), report, budget);
    }
    if let Some(entry) = map.get_mut("volumes") {
        mounts::write_out(&mut entry.value, &join(path, "volumes"), around, report);
    }
}

fn inner<'a>(map: &'a mut Map, outer: &str, key: &str) -> Option<&'a mut Node> {
    map.get_mut(outer)?.value.as_map_mut()?.get_mut(key).map(|entry| &mut entry.value)
}

/// Gives environment entries without a value the one they have outside. Those without one there stay null.
fn take_from_outside(environment: &mut Node, variables: &Variables) {
    for (name, entry) in environment.as_map_mut().into_iter().flatten() {
        if entry.value.is_null()
            && let Some(value) = variables.get(name)
        {
            let tag = entry.value.tag;
            entry.value = Node { tag, ..Node::text(entry.value.pos, value.as_str()) };
        }
    }
}

/// Puts a scalar into a list of its own.
fn listed(node: &mut Node) {
    if let Value::Scalar(_) = node.value {
        let (tag, pos) = (node.tag, node.pos);
        let item = Node { tag: MergeTag::Usual, ..node.clone() };
        *node = Node { tag, ..Node::new(pos, Value::List(vec![item])) };
    }
}

/// Writes `env_file` as a list of mappings with absolute paths.
fn env_files(node: &mut Node, path: &str, around: &Surroundings<'_>, report: &mut Report) {
    listed(node);
    let Value::List(items) = &mut node.value else { return };
    for (index, item) in items.iter_mut().enumerate() {
        if let Value::Scalar(_) = item.value {
            let name = item.clone();
            *item = Node::object(name.pos, [("path", name)]);
        }
        if let Some(entry) = item.as_map_mut().and_then(|map| map.get_mut("path")) {
            make_absolute(&mut entry.value, &format!("{path}[{index}]"), around, report);
        }
    }
}

/// Makes a path of the machine absolute.
fn make_absolute(node: &mut Node, path: &str, around: &Surroundings<'_>, report: &mut Report) {
    let Some(text) = node.as_text() else { return };
    let home = around.variables.get("HOME").map(String::as_str);
    match host_path(around.dir, text, home) {
        Ok(absolute) => *node = Node::text(node.pos, absolute),
        Err(reason) => report.error(node.pos, format!("{path}: {reason}")),
    }
}
