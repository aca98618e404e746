//! `extra_hosts` as a list of `name=address`.

use crate::report::{Pos, Report};
use crate::tree::{Node, Value};

/// Writes a mapping, or a list that uses `:`, as a list of `name=address`.
pub(crate) fn write_out(node: &mut Node, path: &str, report: &mut Report) {
    let mut hosts = Vec::new();
    match &node.value {
        Value::List(items) => {
            for item in items {
                match item.as_text().and_then(|text| text.split_once(['=', ':'])) {
                    Some((name, address)) => hosts.push(host(item.pos, name, address)),
                    None => report
                        .error(item.pos, format!("{path}: expected name=address, found {}", item.describe())),
                }
            }
        }
        Value::Map(map) => {
            for (name, entry) in map {
                let addresses = match &entry.value.value {
                    Value::List(items) => items.as_slice(),
                    Value::Null | Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(&entry.value),
                };
                for address in addresses {
                    match address.as_text() {
                        Some(text) => hosts.push(host(address.pos, name, text)),
                        None => report.error(
                            address.pos,
                            format!("{path}.{name}: expected an address, found {}", address.describe()),
                        ),
                    }
                }
            }
        }
        Value::Null | Value::Scalar(_) => return,
    }
    node.value = Value::List(hosts);
}

fn host(pos: Pos, name: &str, address: &str) -> Node {
    Node::text(pos, format!("{}={}", name.trim(), address.trim()))
}
