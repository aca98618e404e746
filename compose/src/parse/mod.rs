//! From the merged tree to the model: types, units, defaults, and what must hold between keys.

mod command;
mod deploy;
mod environment;
mod field;
mod health;
mod limits;
mod mounts;
mod ports;
mod service;

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::interpolate::Variables;
use crate::model::{Network, NetworkMode, Project, Service, Volume};
use crate::session::Session;
use crate::tree::Map;

use field::{Field, Object};

/// Reads the merged tree. What is wrong is reported; what can't be read is left out.
pub(crate) fn project(session: &mut Session<'_>, root: &Map, name: String, variables: &Variables) -> Project {
    let root = Object::root(root);
    if let Some(version) = root.field("version") {
        session.report.warn(
            version.pos(),
            "version: is obsolete and has no effect",
            Some("remove it".to_owned()),
        );
    }
    let volumes = named_volumes(session, &root, &name);
    let mut services = IndexMap::new();
    for (key, field) in members(session, &root, "services") {
        if let Some(service) = service::read(session, key, &field, variables, &volumes) {
            services.insert(key.to_owned(), service);
        }
    }
    if let Some(name) = root.field("name") {
        name.text(&mut session.report);
    }
    let declared = root.field("services").is_some_and(|services| !services.is_empty_mapping());
    // A service with an error in it may have been left out of the tree.
    if !declared && !session.report.has_errors() {
        session.report.error(root.pos(), "there are no services");
    }
    let networks = networks(session, &root, &name, &services);
    Project { name, services, networks, volumes }
}

/// The members of a top-level section whose names are legal.
fn members<'a>(session: &mut Session<'_>, root: &Object<'a>, section: &str) -> Vec<(&'a str, Field<'a>)> {
    let Some(section_field) = root.field(section) else { return Vec::new() };
    let Some(object) = section_field.object(&mut session.report) else { return Vec::new() };
    let mut members = Vec::new();
    for (key, key_pos, field) in object.entries() {
        if is_name(key) {
            members.push((key, field));
        } else {
            session.report.error_hint(
                key_pos,
                format!("{section}: {key:?} is no legal name"),
                "a name is letters, digits, -, _ and ., and begins with a letter or digit; at most 63",
            );
        }
    }
    members
}

fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn named_volumes(session: &mut Session<'_>, root: &Object<'_>, project: &str) -> IndexMap<String, Volume> {
    let mut volumes = IndexMap::new();
    for (key, field) in members(session, root, "volumes") {
        let mut volume = Volume { name: format!("{project}_{key}"), driver: None, labels: BTreeMap::new() };
        let report = &mut session.report;
        if let Some(object) = field.object_or_nothing(report) {
            if let Some(name) = object.field("name") {
                match name.text(report) {
                    Some(name) if is_name(&name) => volume.name = name,
                    Some(given) => name.error(report, format!("{given:?} is no legal name for a volume")),
                    None => {}
                }
            }
            volume.driver = object
                .field("driver")
                .and_then(|field| field.choice(report, &[("local", "local")]).map(str::to_owned));
            volume.labels = object.field("labels").map(|field| field.pairs(report)).unwrap_or_default();
        }
        volumes.insert(key.to_owned(), volume);
    }
    volumes
}

/// The default network, when a service is attached to it. Others are not supported yet.
fn networks(
    session: &mut Session<'_>,
    root: &Object<'_>,
    project: &str,
    services: &IndexMap<String, Service>,
) -> IndexMap<String, Network> {
    let default = Network { name: format!("{project}_default") };
    for (key, field) in members(session, root, "networks") {
        let report = &mut session.report;
        if key != "default" {
            let message = format!("networks.{key}: networks other than default are not supported yet");
            report.error_hint(
                field.pos(),
                message,
                "leave networks out: services of a stack share the default one",
            );
            continue;
        }
        let name = field.object_or_nothing(report).and_then(|object| object.field("name"));
        if let Some(name) = name
            && name.text(report).is_some_and(|given| given != default.name)
        {
            let message = format!("a name other than {:?} is not supported yet", default.name);
            name.error(report, message);
        }
    }
    let used = services.values().any(|service| service.network_mode == NetworkMode::Bridge);
    if used { IndexMap::from([("default".to_owned(), default)]) } else { IndexMap::new() }
}
