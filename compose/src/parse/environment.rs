//! A service's environment: the files it names, then what it says itself.

use std::collections::BTreeMap;
use std::path::Path;

use super::field::{Field, Object};
use crate::env_file::Format;
use crate::interpolate::Variables;
use crate::session::Session;

/// Reads `env_file` and `environment`.
pub(super) fn read(
    session: &mut Session<'_>,
    service: &Object<'_>,
    variables: &Variables,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    if let Some(field) = service.field("env_file") {
        for item in field.items(&mut session.report) {
            environment.extend(file(session, &item, variables));
        }
    }
    if let Some(field) = service.field("environment") {
        for (name, value, pos) in field.optional_pairs(&mut session.report) {
            if name.is_empty() || name.contains(['=', '\0']) {
                session.report.error(pos, format!("{}: {name:?} is no variable's name", field.path()));
                continue;
            }
            match value {
                Some(value) => {
                    environment.insert(name, value);
                }
                None if environment.contains_key(&name) => {}
                None => session.report.warn(
                    pos,
                    format!("{}: {name:?} has no value here or outside and is left out", field.path()),
                    Some(format!("write {name}: \"\" for an empty value")),
                ),
            }
        }
    }
    for (name, value) in &environment {
        if value.contains('\0') {
            session.report.error(service.pos(), format!("{}: {name:?} holds a NUL", service.path()));
        }
    }
    environment
}

fn file(session: &mut Session<'_>, item: &Field<'_>, variables: &Variables) -> Vec<(String, String)> {
    let report = &mut session.report;
    let Some(object) = item.object(report) else { return Vec::new() };
    let Some(path_field) = object.field("path") else {
        item.error(report, "path: is missing");
        return Vec::new();
    };
    let Some(path) = path_field.filled_text(report) else { return Vec::new() };
    let required = object.field("required").and_then(|field| field.boolean(report)).unwrap_or(true);
    let format = object
        .field("format")
        .and_then(|field| field.choice(report, &[("raw", Format::Raw)]))
        .unwrap_or_default();
    let parsed = session.env_file(Path::new(&path), path_field.pos(), required, format, variables);
    parsed.map(|parsed| parsed.variables).unwrap_or_default()
}
