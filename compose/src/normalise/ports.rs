//! Short port forms such as `127.0.0.1:8000-8001:80-81/udp`, written out one port at a time.

use std::ops::RangeInclusive;

use crate::report::{Pos, Report};
use crate::tree::{Budget, Node, Value};

/// How many ports one short form may stand for.
const MAX_RANGE: usize = 1_000;

/// What one port costs of the budget, written out.
const PORT_COST: usize = 8;

const FORM: &str =
    "the form is [[address:]published:]target[/protocol], such as 8080:80 or 127.0.0.1:53:53/udp";

/// Writes the short forms in a list of ports out in the long form.
pub(crate) fn write_out(node: &mut Node, path: &str, report: &mut Report, budget: &mut Budget) {
    let Value::List(items) = &mut node.value else { return };
    let mut long = Vec::with_capacity(items.len());
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        let Some(text) = item.as_text() else {
            long.push(item);
            continue;
        };
        match Short::read(text) {
            Ok(short) if budget.take(short.published.len() * PORT_COST) => long.extend(short.ports(item.pos)),
            Ok(_) => report.error(item.pos, "the project is too large once its port ranges are written out"),
            Err(problem) => {
                report.error_hint(item.pos, format!("{path}[{index}]: {}", problem.message), problem.hint);
            }
        }
    }
    node.value = Value::List(long);
}

struct Problem {
    message: String,
    hint: &'static str,
}

fn problem(message: impl Into<String>) -> Problem {
    Problem { message: message.into(), hint: FORM }
}

/// A short form, taken apart.
struct Short<'a> {
    address: Option<&'a str>,
    /// One for each target.
    published: Vec<Option<u16>>,
    target: RangeInclusive<u16>,
    protocol: &'a str,
}

impl<'a> Short<'a> {
    fn read(text: &'a str) -> Result<Self, Problem> {
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, protocol)) => (rest, protocol),
            None => (text, "tcp"),
        };
        let (outside, target) = match rest.rsplit_once(':') {
            Some((outside, target)) => (Some(outside), target),
            None => (None, rest),
        };
        let (address, published) = match outside.map(|outside| outside.rsplit_once(':').ok_or(outside)) {
            None => (None, None),
            Some(Ok((address, published))) => {
                (Some(address), Some(published).filter(|published| !published.is_empty()))
            }
            Some(Err(published)) => (None, Some(published)),
        };
        let target = range(target)?;
        let published = published.map(range).transpose()?;
        let count = target.clone().count();
        if count > MAX_RANGE {
            return Err(problem(format!("a range of more than {MAX_RANGE} ports")));
        }
        let published: Vec<Option<u16>> = match published {
            None => vec![None; count],
            Some(published) if published.clone().count() == count => published.map(Some).collect(),
            Some(published) if count == 1 => {
                return Err(Problem {
                    message: format!(
                        "choosing one of the published ports {}-{} is not supported yet",
                        published.start(),
                        published.end()
                    ),
                    hint: "give one published port, or none for any free one",
                });
            }
            Some(published) => {
                return Err(problem(format!(
                    "the ranges differ in length: {} published, {count} target ports",
                    published.count()
                )));
            }
        };
        let address = address.map(|address| address.trim_start_matches('[').trim_end_matches(']'));
        Ok(Short { address, published, target, protocol })
    }

    /// Each port in the long form.
    fn ports(self, pos: Pos) -> impl Iterator<Item = Node> {
        let Short { address, published, target, protocol } = self;
        target.zip(published).map(move |(target, published)| {
            let mut keys = vec![("target", Node::text(pos, target.to_string()))];
            keys.extend(published.map(|published| ("published", Node::text(pos, published.to_string()))));
            keys.extend(address.map(|address| ("host_ip", Node::text(pos, address))));
            keys.push(("protocol", Node::text(pos, protocol)));
            Node::object(pos, keys)
        })
    }
}

/// A port, or two with a `-` between them.
fn range(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|_| digits);
        number.ok_or_else(|| problem(format!("{text:?} is no port number between 0 and 65535")))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(problem(format!("the range {first}-{last} runs backwards")));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> Result<Vec<String>, String> {
        let one = |node: Node| -> String {
            let map = node.as_map().unwrap();
            let get = |key: &str| map.get(key).and_then(|e| e.value.as_text()).unwrap_or("-").to_owned();
            format!("{} {} {} {}", get("host_ip"), get("published"), get("target"), get("protocol"))
        };
        Short::read(text).map(|short| short.ports(Pos::NOWHERE).map(one).collect()).map_err(|p| p.message)
    }

    #[test]
    fn short_forms_are_written_out() {
        let cases: [(&str, &[&str]); 9] = [
            ("80", &["- - 80 tcp"]),
            ("8080:80", &["- 8080 80 tcp"]),
            ("8080:80/udp", &["- 8080 80 udp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1 8080 80 tcp"]),
            ("127.0.0.1::80", &["127.0.0.1 - 80 tcp"]),
            ("[::1]:8080:80", &["::1 8080 80 tcp"]),
            ("::1:8080:80", &["::1 8080 80 tcp"]),
            ("3000-3001", &["- - 3000 tcp", "- - 3001 tcp"]),
            ("9000-9001:80-81", &["- 9000 80 tcp", "- 9001 81 tcp"]),
        ];
        for (text, expected) in cases {
            assert_eq!(short(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_forms_are_refused() {
        let cases = [
            ("", "no port number"),
            ("http", "no port number"),
            ("70000", "no port number"),
            ("+80", "no port number"),
            ("8001-8000", "runs backwards"),
            ("8000-8002:80-81", "differ in length"),
            ("8000-8002:80", "not supported yet"),
            ("1-65535", "more than 1000 ports"),
        ];
        for (text, part) in cases {
            let message = short(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
