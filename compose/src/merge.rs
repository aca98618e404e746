//! Merges two trees as Compose merges files: each key by its own rule.

use std::collections::BTreeSet;

use crate::schema::{Kind, Merge, ROOT, SERVICE, Shape};
use crate::tree::{Entry, Map, MergeTag, Node, Value};

/// A file merged over an earlier one.
pub(crate) fn files(base: Map, over: Map) -> Map {
    objects(base, over, Some(&ROOT))
}

/// A service merged over the one that it extends.
pub(crate) fn services(base: Node, over: Node) -> Node {
    merge(base, over, Kind::Object(&SERVICE), Merge::Deep)
}

/// Takes out what `!reset` says to take out, once everything is merged.
pub(crate) fn drop_reset(map: &mut Map) {
    map.retain(|_, entry| entry.value.tag != MergeTag::Reset);
    for entry in map.values_mut() {
        drop_reset_below(&mut entry.value);
    }
}

fn drop_reset_below(node: &mut Node) {
    match &mut node.value {
        Value::Map(map) => drop_reset(map),
        Value::List(items) => items.iter_mut().for_each(drop_reset_below),
        Value::Null | Value::Scalar(_) => {}
    }
}

fn merge(base: Node, over: Node, kind: Kind, rule: Merge) -> Node {
    // The tags stay: they hold against still earlier files too.
    if over.tag != MergeTag::Usual || base.tag == MergeTag::Reset {
        return over;
    }
    if rule == Merge::Replace {
        return over;
    }
    if over.is_null() {
        return base;
    }
    let (tag, pos) = (base.tag, over.pos);
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => {
            if rule == Merge::Logging && drivers_differ(&base, &over) {
                Value::Map(over)
            } else {
                Value::Map(maps(base, over, kind))
            }
        }
        (Value::List(base), Value::List(over)) => Value::List(lists(base, over, rule)),
        (_, over) => over,
    };
    Node { pos, tag, value }
}

fn maps(base: Map, over: Map, kind: Kind) -> Map {
    match kind {
        Kind::Object(shape) => objects(base, over, Some(shape)),
        Kind::Named(shape) => {
            with_each(base, over, |base, over| merge(base, over, Kind::Object(shape), Merge::Deep))
        }
        Kind::Value | Kind::Free | Kind::List(_) => objects(base, over, None),
    }
}

fn objects(base: Map, over: Map, shape: Option<&'static Shape>) -> Map {
    let mut merged = base;
    for (name, entry) in over {
        let key = shape.and_then(|shape| shape.key(&name));
        let (kind, rule) = key.map_or((Kind::Value, Merge::Replace), |key| (key.kind, key.merge));
        merge_entry(&mut merged, name, entry, |base, over| merge(base, over, kind, rule));
    }
    merged
}

fn with_each(base: Map, over: Map, merge: impl Fn(Node, Node) -> Node) -> Map {
    let mut merged = base;
    for (name, entry) in over {
        merge_entry(&mut merged, name, entry, &merge);
    }
    merged
}

fn merge_entry(merged: &mut Map, name: String, mut entry: Entry, merge: impl FnOnce(Node, Node) -> Node) {
    match merged.get_mut(&name) {
        Some(slot) => {
            let base = std::mem::replace(&mut slot.value, Node::new(entry.key_pos, Value::Null));
            entry.value = merge(base, entry.value);
            *slot = entry;
        }
        None => {
            merged.insert(name, entry);
        }
    }
}

fn drivers_differ(base: &Map, over: &Map) -> bool {
    let driver = |map: &Map| map.get("driver").and_then(|entry| entry.value.as_text()).map(str::to_owned);
    matches!((driver(base), driver(over)), (Some(base), Some(over)) if base != over)
}

fn lists(mut base: Vec<Node>, over: Vec<Node>, rule: Merge) -> Vec<Node> {
    match rule {
        Merge::Unique => {
            let mut merged = Vec::with_capacity(base.len() + over.len());
            let mut seen = BTreeSet::new();
            for item in base.into_iter().chain(over) {
                if item.as_text().is_none_or(|text| seen.insert(text.to_owned())) {
                    merged.push(item);
                }
            }
            merged
        }
        Merge::Targets => without(base, over, mount_target),
        Merge::Ports => without(base, over, port_identity),
        Merge::Replace | Merge::Deep | Merge::Append | Merge::Keyed | Merge::Logging => {
            base.extend(over);
            base
        }
    }
}

/// Both lists, but of the first only what the second doesn't say anew.
fn without(mut base: Vec<Node>, over: Vec<Node>, identity: fn(&Node) -> Option<String>) -> Vec<Node> {
    let anew: BTreeSet<String> = over.iter().filter_map(identity).collect();
    base.retain(|item| identity(item).is_none_or(|identity| !anew.contains(&identity)));
    base.extend(over);
    base
}

/// Where a mount in the long form, or a line of `tmpfs`, is mounted.
fn mount_target(item: &Node) -> Option<String> {
    let target = match &item.value {
        Value::Map(map) => map.get("target")?.value.as_text()?,
        Value::Scalar(scalar) => scalar.text.split(':').next()?,
        Value::Null | Value::List(_) => return None,
    };
    Some(target.trim_end_matches('/').to_owned())
}

/// What makes two ports in the long form the same.
fn port_identity(item: &Node) -> Option<String> {
    let map = item.as_map()?;
    let part = |key: &str| map.get(key).and_then(|entry| entry.value.as_text());
    Some(format!(
        "{} {} {} {}",
        part("host_ip").unwrap_or_default(),
        part("target")?,
        part("published").unwrap_or_default(),
        part("protocol").unwrap_or("tcp")
    ))
}
