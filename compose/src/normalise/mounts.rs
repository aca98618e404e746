//! Short mount forms such as `./data:/data:ro`, written out in the long form.

use super::{Surroundings, make_absolute};
use crate::report::{Pos, Report};
use crate::tree::{Node, Value};

const FORM: &str = "the form is [source:]target[:options], such as ./conf:/etc/app:ro or data:/var/lib/app";

/// Writes the short forms in a list of mounts out, and makes the paths of bind mounts absolute.
pub(crate) fn write_out(node: &mut Node, path: &str, around: &Surroundings<'_>, report: &mut Report) {
    let Value::List(items) = &mut node.value else { return };
    items.retain_mut(|item| {
        let Some(text) = item.as_text() else { return true };
        match expand(text, item.pos) {
            Ok(long) => {
                *item = long;
                true
            }
            Err((message, hint)) => {
                report.error_hint(item.pos, format!("{path}: {message}"), hint);
                false
            }
        }
    });
    for (index, item) in items.iter_mut().enumerate() {
        let Some(map) = item.as_map_mut() else { continue };
        if map.get("type").and_then(|entry| entry.value.as_text()) != Some("bind") {
            continue;
        }
        if let Some(source) = map.get_mut("source") {
            make_absolute(&mut source.value, &format!("{path}[{index}].source"), around, report);
        }
    }
}

fn expand(text: &str, pos: Pos) -> Result<Node, (String, &'static str)> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err((format!("{text:?} has more than three parts"), FORM)),
    };
    let bind = source.is_some_and(|source| source.starts_with(['/', '.', '~']));
    if let Some(source) = source {
        if source.is_empty() {
            return Err((format!("{text:?} has no source before the colon"), FORM));
        }
        if !bind && source.contains('/') {
            return Err((format!("{source:?} is no volume's name"), "a path begins with /, ./, ../ or ~/"));
        }
    }
    let known = Options::read(options, bind)?;
    let flag = |value: &'static str| Node::text(pos, value);
    let mut keys = vec![("type", flag(if bind { "bind" } else { "volume" }))];
    keys.extend(source.map(|source| ("source", Node::text(pos, source))));
    keys.push(("target", Node::text(pos, target)));
    if known.read_only {
        keys.push(("read_only", flag("true")));
    }
    if let Some(propagation) = known.propagation {
        keys.push(("bind", Node::object(pos, [("propagation", Node::text(pos, propagation))])));
    }
    if known.nocopy {
        keys.push(("volume", Node::object(pos, [("nocopy", flag("true"))])));
    }
    Ok(Node::object(pos, keys))
}

/// The options of a short form.
#[derive(Default)]
struct Options<'a> {
    read_only: bool,
    nocopy: bool,
    propagation: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn read(text: &'a str, bind: bool) -> Result<Self, (String, &'static str)> {
        let mut options = Options::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => options.read_only = true,
                "rw" => options.read_only = false,
                "nocopy" if !bind => options.nocopy = true,
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" if bind => {
                    options.propagation = Some(option);
                }
                "z" | "Z" => {
                    return Err((
                        format!("the option {option:?} is not supported yet"),
                        "label the files for SELinux on the nodes",
                    ));
                }
                "cached" | "delegated" | "consistent" => {
                    return Err((
                        format!("the option {option:?} is not supported"),
                        "it has no effect on Linux: leave it out",
                    ));
                }
                _ if bind => {
                    return Err((
                        format!("unknown option {option:?}"),
                        "a bind mount knows ro, rw, private, rprivate, shared, rshared, slave and rslave",
                    ));
                }
                _ => return Err((format!("unknown option {option:?}"), "a volume knows ro, rw and nocopy")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> Result<String, String> {
        let long = expand(text, Pos::NOWHERE).map_err(|(message, _)| message)?;
        let line: Vec<String> = long
            .as_map()
            .unwrap()
            .iter()
            .map(|(key, entry)| format!("{key}={}", entry.value.as_text().unwrap_or("{}")))
            .collect();
        Ok(line.join(" "))
    }

    #[test]
    fn short_forms_are_written_out() {
        let cases = [
            ("/data", "type=volume target=/data"),
            ("db:/data", "type=volume source=db target=/data"),
            ("./a:/b:ro", "type=bind source=./a target=/b read_only=true"),
            ("~/a:/b", "type=bind source=~/a target=/b"),
            ("/a:/b:rw,rslave", "type=bind source=/a target=/b bind={}"),
            ("db:/data:nocopy", "type=volume source=db target=/data volume={}"),
        ];
        for (text, expected) in cases {
            assert_eq!(short(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_forms_are_refused() {
        let cases = [
            (":/b", "no source"),
            ("a/b:/c", "no volume's name"),
            ("a:/b:ro:x", "more than three parts"),
            ("a:/b:rshared", "unknown option"),
            ("./a:/b:nocopy", "unknown option"),
            ("./a:/b:z", "not supported yet"),
        ];
        for (text, part) in cases {
            let message = short(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
