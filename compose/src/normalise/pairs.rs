//! `KEY=VALUE` lists as mappings.

use crate::report::Report;
use crate::tree::{Entry, Map, Node, Scalar, Style, Value};

/// Writes a list of `KEY=VALUE` as a mapping. A key without `=` has no value.
pub(crate) fn keyed(node: &mut Node, path: &str, report: &mut Report) {
    let Value::List(items) = &mut node.value else { return };
    let mut map = Map::new();
    for item in std::mem::take(items) {
        match &item.value {
            Value::Scalar(scalar) => {
                let (key, value) = match scalar.text.split_once('=') {
                    Some((key, value)) => {
                        let value = Scalar { text: value.to_owned(), style: Style::Text };
                        (key, Node::new(item.pos, Value::Scalar(value)))
                    }
                    None => (scalar.text.as_str(), Node::new(item.pos, Value::Null)),
                };
                if key.is_empty() {
                    report.error(item.pos, format!("{path}: there is no key before the ="));
                } else {
                    map.insert(key.to_owned(), Entry { key_pos: item.pos, value });
                }
            }
            Value::Map(inner) => {
                let message = format!("{path}: expected KEY=VALUE, found a mapping");
                match inner.iter().next() {
                    Some((key, entry)) if inner.len() == 1 => {
                        let value = entry.value.as_text().unwrap_or_default();
                        report.error_hint(item.pos, message, format!("write {:?}", format!("{key}={value}")));
                    }
                    _ => report.error(item.pos, message),
                }
            }
            Value::Null | Value::List(_) => {
                report.error(item.pos, format!("{path}: expected KEY=VALUE, found {}", item.describe()));
            }
        }
    }
    node.value = Value::Map(map);
}
