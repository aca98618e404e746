//! Checks keys against the tables: an unknown key is an error that names the nearest known one, a key that
//! is known but not supported yet is an error that says so.

mod tables;

use crate::report::{Pos, Report};
use crate::tree::{Node, Value as NodeValue};

pub(crate) use tables::{ROOT, SERVICE};

/// The prefix of keys that anyone may add anywhere.
const EXTENSION: &str = "x-";

/// The prefix of the extension keys that are ours. A misspelt one must not pass for somebody else's.
const OWN_EXTENSION: &str = "x-wharf-";

/// The keys of one kind of mapping.
pub(crate) struct Shape {
    pub(crate) keys: &'static [Key],
    pub(crate) unsupported: &'static [Unsupported],
}

/// A key that is understood.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) merge: Merge,
}

/// A key of the specification that is not supported yet.
pub(crate) struct Unsupported {
    name: &'static str,
    hint: Option<&'static str>,
}

/// What a key's value holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// No mapping with known keys.
    Value,
    /// A mapping or a list whose keys are the user's.
    Free,
    /// A mapping with known keys.
    Object(&'static Shape),
    /// A mapping from names to mappings with known keys.
    Named(&'static Shape),
    /// A list of mappings with known keys, among short forms.
    List(&'static Shape),
}

/// How a later file's value merges with an earlier one's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The later one stays.
    Replace,
    /// Mappings merge key by key.
    Deep,
    /// Lists are put one after the other.
    Append,
    /// The same, without what is there already.
    Unique,
    /// `KEY=VALUE` lists and mappings merge by key.
    Keyed,
    /// Ports merge by address, target, published port and protocol.
    Ports,
    /// Mounts merge by their target.
    Targets,
    /// Options merge when the driver is the same.
    Logging,
}

const fn key(name: &'static str, kind: Kind, merge: Merge) -> Key {
    Key { name, kind, merge }
}

const fn no(name: &'static str) -> Unsupported {
    Unsupported { name, hint: None }
}

const fn no_hint(name: &'static str, hint: &'static str) -> Unsupported {
    Unsupported { name, hint: Some(hint) }
}

impl Shape {
    /// The key of this name, when it is understood.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn is_known(&self, name: &str) -> bool {
        self.key(name).is_some() || self.unsupported.iter().any(|key| key.name == name)
    }
}

/// Checks the keys of a mapping and of all below it. Takes extension keys out.
pub(crate) fn check(node: &mut Node, shape: &'static Shape, path: &str, report: &mut Report) {
    let Some(map) = node.as_map_mut() else { return };
    map.retain(|name, _| !is_foreign_extension(name));
    for (name, entry) in map.iter_mut() {
        match shape.key(name) {
            Some(key) => check_value(&mut entry.value, key.kind, &join(path, name), report),
            None => refuse(name, entry.key_pos, shape, path, report),
        }
    }
    // Reported keys go, so that nothing later stumbles over them.
    map.retain(|name, _| shape.key(name).is_some());
}

fn check_value(node: &mut Node, kind: Kind, path: &str, report: &mut Report) {
    match kind {
        Kind::Value | Kind::Free => {}
        Kind::Object(shape) => check(node, shape, path, report),
        Kind::Named(shape) => {
            for (name, entry) in node.as_map_mut().into_iter().flatten() {
                check(&mut entry.value, shape, &join(path, name), report);
            }
        }
        Kind::List(shape) => match &mut node.value {
            NodeValue::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    check(item, shape, &format!("{path}[{index}]"), report);
                }
            }
            NodeValue::Map(_) | NodeValue::Scalar(_) | NodeValue::Null => {}
        },
    }
}

fn is_foreign_extension(name: &str) -> bool {
    name.starts_with(EXTENSION) && !name.starts_with(OWN_EXTENSION)
}

fn refuse(name: &str, pos: Pos, shape: &'static Shape, path: &str, report: &mut Report) {
    if let Some(key) = shape.unsupported.iter().find(|key| key.name == name) {
        let message = format!("{}: the key {name:?} is not supported yet", shown(path));
        match key.hint {
            Some(hint) => report.error_hint(pos, message, hint),
            None => report.error(pos, message),
        }
        return;
    }
    let message = format!("{}: unknown key {name:?}", shown(path));
    // Looking for neighbours is dear, and nobody would see them.
    if report.is_full() {
        return report.error(pos, message);
    }
    match suggestion(name, shape) {
        Some(hint) => report.error_hint(pos, message, hint),
        None => report.error(pos, message),
    }
}

/// What the user may have meant: a key with nearly this name here, or one with just this name further in.
fn suggestion(name: &str, shape: &'static Shape) -> Option<String> {
    let keys = shape.keys.iter().map(|key| key.name);
    let unsupported = shape.unsupported.iter().map(|key| key.name);
    nearest(name, keys.chain(unsupported))
        .map(|near| format!("did you mean {near:?}?"))
        .or_else(|| deeper(name, shape).map(|path| format!("it belongs in {path}")))
}

/// How many words are compared with one that is unknown.
const MAX_CANDIDATES: usize = 500;

/// The nearest of some known words, when one is near enough to have been meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name of any length can come from a file; only a short one can be a slip of a known key.
    if name.len() > 64 {
        return None;
    }
    let fold = |word: &str| word.to_lowercase().replace('-', "_");
    let folded = fold(name);
    known
        .take(MAX_CANDIDATES)
        .map(|known| (strsim::damerau_levenshtein(&folded, &fold(known)), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Where below a shape a key of just this name is, such as `deploy.resources.limits` for `memory`.
fn deeper(name: &str, shape: &'static Shape) -> Option<String> {
    shape.keys.iter().find_map(|key| match key.kind {
        Kind::Object(inner) if inner.is_known(name) => Some(key.name.to_owned()),
        Kind::Object(inner) => deeper(name, inner).map(|rest| format!("{}.{rest}", key.name)),
        Kind::Value | Kind::Free | Kind::Named(_) | Kind::List(_) => None,
    })
}

/// The path of a key inside of what `path` names.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "top level" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Budget, build};

    fn check_text(text: &str) -> Vec<String> {
        let mut report = Report::default();
        let file = report.add_file("t.yaml".into(), text);
        let mut root = build(text, file, &mut report, &mut Budget::new(10_000)).unwrap();
        check(&mut root, &ROOT, "", &mut report);
        let line = |d: &crate::Diagnostic| {
            format!("{}:{} {} / {}", d.line, d.column, d.message, d.hint.as_deref().unwrap_or("-"))
        };
        report.finish().iter().map(line).collect()
    }

    #[test]
    fn unknown_keys_name_their_neighbours() {
        let found = check_text(
            "service: {}\nservices:\n  web:\n    imag: x\n    replicas: 3\n    memory: 1g\n    zzzzzz: 1\n    x-any: 1\n    deploy:\n      placement: {x-wharf-stratgy: binpack}\n",
        );
        assert_eq!(
            found,
            [
                "1:1 top level: unknown key \"service\" / did you mean \"services\"?",
                "4:5 services.web: unknown key \"imag\" / did you mean \"image\"?",
                "5:5 services.web: unknown key \"replicas\" / it belongs in deploy",
                "6:5 services.web: unknown key \"memory\" / it belongs in deploy.resources.limits",
                "7:5 services.web: unknown key \"zzzzzz\" / -",
                "10:19 services.web.deploy.placement: unknown key \"x-wharf-stratgy\" / did you mean \"x-wharf-strategy\"?",
            ]
        );
    }

    #[test]
    fn known_keys_that_are_not_supported_say_so() {
        let found = check_text(
            "secrets: {}\nservices:\n  web:\n    scale: 3\n    volumes:\n      - {type: bind, bind: {selinux: z}}\n",
        );
        assert_eq!(
            found,
            [
                "1:1 top level: the key \"secrets\" is not supported yet / -",
                "4:5 services.web: the key \"scale\" is not supported yet / use deploy.replicas",
                "6:29 services.web.volumes[0].bind: the key \"selinux\" is not supported yet / -",
            ]
        );
    }

    #[test]
    fn the_users_own_names_are_no_keys() {
        assert!(
            check_text(
                "services:\n  x-y:\n    environment: {imag: 1, x-z: 2}\n    labels: {a.b: c}\nx-all: {any: thing}\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn tables_are_sorted_and_say_each_key_once() {
        fn walk(shape: &'static Shape) {
            assert!(shape.keys.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(shape.unsupported.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(shape.unsupported.iter().all(|key| shape.key(key.name).is_none()));
            for key in shape.keys {
                if let Kind::Object(inner) | Kind::Named(inner) | Kind::List(inner) = key.kind {
                    walk(inner);
                }
            }
        }
        walk(&ROOT);
    }
}
