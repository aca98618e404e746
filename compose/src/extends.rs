//! `extends`: a service that takes over what it doesn't say itself from another one, here or in another file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::interpolate::interpolate;
use crate::merge;
use crate::normalise::{self, Surroundings};
use crate::paths::{absolute, display};
use crate::report::Pos;
use crate::schema::{self, SERVICE, nearest};
use crate::session::Session;
use crate::stack::Setting;
use crate::tree::{Entry, Map, Node, Value};

/// How long a chain of services extending services may be.
const MAX_CHAIN: usize = 32;

/// Resolves the `extends` of one file's services.
pub(crate) struct Extender<'s, 'a> {
    session: &'s mut Session<'a>,
    setting: &'s Setting<'s>,
    units: Vec<Unit>,
}

/// A file whose services can be extended.
struct Unit {
    path: PathBuf,
    /// What relative paths in it start from.
    dir: PathBuf,
    services: Map,
    /// Whether the services have been checked, interpolated and written out.
    prepared: bool,
    resolved: BTreeMap<String, Option<Node>>,
}

/// What `extends` names.
struct Base {
    service: String,
    pos: Pos,
    file: Option<(String, Pos)>,
}

impl<'s, 'a> Extender<'s, 'a> {
    pub(crate) fn new(session: &'s mut Session<'a>, setting: &'s Setting<'s>) -> Self {
        Extender { session, setting, units: Vec::new() }
    }

    /// The services of the file at `path`, each merged over what it extends.
    pub(crate) fn resolve_all(mut self, path: PathBuf, services: Map) -> Map {
        let extends = |entry: &Entry| entry.value.as_map().is_some_and(|map| map.contains_key("extends"));
        if !services.values().any(extends) {
            return services;
        }
        let dir = self.setting.dir.to_owned();
        let names: Vec<(String, Pos)> =
            services.iter().map(|(name, entry)| (name.clone(), entry.key_pos)).collect();
        self.units.push(Unit { path, dir, services, prepared: true, resolved: BTreeMap::new() });
        let mut resolved = Map::new();
        for (name, key_pos) in names {
            if let Some(value) = self.resolve(0, &name, key_pos, &mut Vec::new()) {
                resolved.insert(name, Entry { key_pos, value });
            }
        }
        resolved
    }

    fn resolve(
        &mut self,
        unit: usize,
        name: &str,
        pos: Pos,
        chain: &mut Vec<(usize, String)>,
    ) -> Option<Node> {
        let link = (unit, name.to_owned());
        if chain.contains(&link) {
            let names: Vec<&str> = chain.iter().map(|(_, name)| name.as_str()).chain([name]).collect();
            self.session.report.error(pos, format!("services extend one another: {}", names.join(" -> ")));
            return None;
        }
        if chain.len() >= MAX_CHAIN {
            self.session.report.error(pos, format!("services extend services more than {MAX_CHAIN} deep"));
            return None;
        }
        if let Some(resolved) = self.units[unit].resolved.get(name) {
            let weight = resolved.as_ref().map_or(0, Node::weight);
            return if self.charge(weight, pos) {
                self.units[unit].resolved.get(name)?.clone()
            } else {
                None
            };
        }
        chain.push(link);
        let resolved = self.merged(unit, name, pos, chain);
        chain.pop();
        self.units[unit].resolved.insert(name.to_owned(), resolved.clone());
        resolved
    }

    fn charge(&mut self, weight: usize, pos: Pos) -> bool {
        let affordable = self.session.budget.take(weight);
        if !affordable {
            self.session.report.error(pos, "the project is too large once its services are extended");
        }
        affordable
    }

    fn merged(
        &mut self,
        unit: usize,
        name: &str,
        pos: Pos,
        chain: &mut Vec<(usize, String)>,
    ) -> Option<Node> {
        let Some(entry) = self.units[unit].services.get(name) else {
            let file = display(&self.session.working_dir, &self.units[unit].path);
            let message = format!("there is no service {name:?} in {file} to extend");
            match nearest(name, self.units[unit].services.keys().map(String::as_str)) {
                Some(near) => self.session.report.error_hint(pos, message, format!("did you mean {near:?}?")),
                None => self.session.report.error(pos, message),
            }
            return None;
        };
        let weight = entry.value.weight();
        if !self.charge(weight, pos) {
            return None;
        }
        let mut node = self.units[unit].services.get(name)?.value.clone();
        if !self.units[unit].prepared {
            self.prepare(unit, name, &mut node);
        }
        let Some(extends) = node.as_map_mut().and_then(|map| map.shift_remove("extends")) else {
            return Some(node);
        };
        if extends.value.is_null() {
            return Some(node);
        }
        let base = self.base(&extends.value, name)?;
        let base_unit = match base.file {
            Some((file, pos)) => {
                let path = absolute(&self.units[unit].dir, Path::new(&file));
                self.unit(path, pos)?
            }
            None => unit,
        };
        let base = self.resolve(base_unit, &base.service, base.pos, chain)?;
        Some(merge::services(base, node))
    }

    fn base(&mut self, extends: &Node, name: &str) -> Option<Base> {
        let report = &mut self.session.report;
        let path = format!("services.{name}.extends");
        let Some(map) = extends.as_map() else {
            let found = extends.describe();
            report
                .error(extends.pos, format!("{path}: expected a service's name or a mapping, found {found}"));
            return None;
        };
        let mut text = |key: &str| {
            let node = &map.get(key)?.value;
            match node.as_text().filter(|text| !text.is_empty()) {
                Some(text) => Some((text.to_owned(), node.pos)),
                None => {
                    let found = node.describe();
                    report.error(node.pos, format!("{path}.{key}: expected a text, found {found}"));
                    None
                }
            }
        };
        let (service, file) = (text("service"), text("file"));
        if service.is_none() && !map.contains_key("service") {
            report.error(extends.pos, format!("{path}: service: is missing"));
        }
        let (service, pos) = service?;
        Some(Base { service, pos, file })
    }

    /// The unit of a file, which is read when it is first asked for.
    fn unit(&mut self, path: PathBuf, pos: Pos) -> Option<usize> {
        if let Some(known) = self.units.iter().position(|unit| unit.path == path) {
            return Some(known);
        }
        let mut root = self.session.compose_file(&path, pos)?.root;
        let services = root.shift_remove("services").map(|entry| entry.value.value);
        let services = match services {
            Some(Value::Map(services)) => services,
            Some(Value::Null | Value::Scalar(_) | Value::List(_)) | None => {
                let file = display(&self.session.working_dir, &path);
                self.session.report.error(pos, format!("there are no services in {file}"));
                return None;
            }
        };
        let dir = path.parent().map_or_else(|| self.setting.dir.to_owned(), Path::to_owned);
        self.units.push(Unit { path, dir, services, prepared: false, resolved: BTreeMap::new() });
        Some(self.units.len() - 1)
    }

    fn prepare(&mut self, unit: usize, name: &str, node: &mut Node) {
        let path = format!("services.{name}");
        let Session { report, budget, .. } = &mut *self.session;
        schema::check(node, &SERVICE, &path, report);
        interpolate(node, self.setting.variables, report, budget);
        let around = Surroundings { dir: &self.units[unit].dir, variables: self.setting.variables };
        normalise::service(node, &path, &around, report, budget);
    }
}
