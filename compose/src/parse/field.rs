//! Typed access to the tree. Each method reports a value of another type and then gives nothing.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::report::{Pos, Report};
use crate::schema::{join, nearest};
use crate::tree::{Map, Node, Scalar, Style, Value, is_bool};
use crate::units;

/// A mapping and its path from the top.
pub(super) struct Object<'a> {
    map: &'a Map,
    path: String,
    pos: Pos,
}

/// A value and its path from the top.
pub(super) struct Field<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Object<'a> {
    pub(super) fn root(map: &'a Map) -> Self {
        let pos = map.values().next().map_or(Pos::NOWHERE, |entry| entry.key_pos);
        Object { map, path: String::new(), pos }
    }

    pub(super) fn pos(&self) -> Pos {
        self.pos
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value of a key; nothing when it is absent or null.
    pub(super) fn field(&self, key: &str) -> Option<Field<'a>> {
        let node = &self.map.get(key)?.value;
        (!node.is_null()).then(|| Field { node, path: join(&self.path, key) })
    }

    /// All keys with their places and values, nulls included.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Pos, Field<'a>)> {
        self.map.iter().map(|(key, entry)| {
            (key.as_str(), entry.key_pos, Field { node: &entry.value, path: join(&self.path, key) })
        })
    }
}

impl<'a> Field<'a> {
    pub(super) fn pos(&self) -> Pos {
        self.node.pos
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    pub(super) fn is_empty_mapping(&self) -> bool {
        self.node.as_map().is_some_and(Map::is_empty)
    }

    /// Whether the value is a list; other values may have a short form.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn error(&self, report: &mut Report, message: impl Display) {
        report.error(self.node.pos, format!("{}: {message}", self.path));
    }

    pub(super) fn error_hint(&self, report: &mut Report, message: impl Display, hint: impl Into<String>) {
        report.error_hint(self.node.pos, format!("{}: {message}", self.path), hint);
    }

    fn expected(&self, report: &mut Report, expected: impl Display) {
        self.error(report, format_args!("expected {expected}, found {}", self.node.describe()));
    }

    pub(super) fn object(&self, report: &mut Report) -> Option<Object<'a>> {
        match &self.node.value {
            Value::Map(map) => Some(Object { map, path: self.path.clone(), pos: self.node.pos }),
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                self.expected(report, "a mapping");
                None
            }
        }
    }

    /// A mapping, where leaving it empty is fine.
    pub(super) fn object_or_nothing(&self, report: &mut Report) -> Option<Object<'a>> {
        if self.is_null() { None } else { self.object(report) }
    }

    /// The items of a list.
    pub(super) fn items(&self, report: &mut Report) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::List(items) => {
                let item = |(index, node)| Field { node, path: format!("{}[{index}]", self.path) };
                items.iter().enumerate().map(item).collect()
            }
            Value::Null | Value::Scalar(_) | Value::Map(_) => {
                self.expected(report, "a list");
                Vec::new()
            }
        }
    }

    /// The items of a list of texts.
    pub(super) fn texts(&self, report: &mut Report) -> Vec<String> {
        self.items(report).iter().filter_map(|item| item.text(report)).collect()
    }

    /// The text of a scalar, whatever it stands for.
    pub(super) fn plain_text(&self) -> Option<&'a str> {
        self.node.as_text()
    }

    /// A text. A number will do, a boolean won't: whoever writes `true` may mean `yes` or `1`.
    pub(super) fn text(&self, report: &mut Report) -> Option<String> {
        match &self.node.value {
            Value::Scalar(Scalar { text, style: Style::Plain }) if is_bool(text) => {
                self.error_hint(
                    report,
                    format_args!("expected a text, found the boolean {text}"),
                    format!("write {text:?} in quotes if the text is meant"),
                );
                None
            }
            Value::Scalar(scalar) => Some(scalar.text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.expected(report, "a text");
                None
            }
        }
    }

    /// A text that holds something.
    pub(super) fn filled_text(&self, report: &mut Report) -> Option<String> {
        let text = self.text(report)?;
        if text.is_empty() {
            self.error(report, "is empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self, report: &mut Report) -> Option<bool> {
        match self.node.as_text() {
            Some("true" | "True" | "TRUE") => Some(true),
            Some("false" | "False" | "FALSE") => Some(false),
            Some("yes" | "Yes" | "no" | "No" | "on" | "On" | "off" | "Off" | "y" | "n") => {
                self.error_hint(
                    report,
                    format_args!("expected true or false, found {}", self.node.describe()),
                    "YAML 1.2 knows no other booleans",
                );
                None
            }
            _ => {
                self.expected(report, "true or false");
                None
            }
        }
    }

    /// A whole number, decimal, or octal after `0` or `0o`, or hexadecimal after `0x`.
    pub(super) fn integer(&self, report: &mut Report, range: RangeInclusive<i64>) -> Option<i64> {
        let Some(number) = self.node.as_text().and_then(parse_integer) else {
            self.expected(report, "a whole number");
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let (from, to) = (range.start(), range.end());
        match (*from, *to) {
            (from, i64::MAX) => {
                self.error(report, format_args!("{number} is too small, the least is {from}"));
            }
            _ => self.error(report, format_args!("{number} is not between {from} and {to}")),
        }
        None
    }

    pub(super) fn count(&self, report: &mut Report) -> Option<u32> {
        self.integer(report, 0..=i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
    }

    /// A number from 0 to 1.
    pub(super) fn ratio(&self, report: &mut Report) -> Option<f64> {
        let Some(number) = self.node.as_text().and_then(|text| text.parse::<f64>().ok()) else {
            self.expected(report, "a number");
            return None;
        };
        if !(0.0..=1.0).contains(&number) {
            self.error(report, format_args!("{number} is not between 0 and 1"));
            return None;
        }
        Some(number)
    }

    pub(super) fn duration(&self, report: &mut Report) -> Option<Duration> {
        self.unit(report, "a duration such as 10s", units::parse_duration)
    }

    pub(super) fn bytes(&self, report: &mut Report) -> Option<u64> {
        self.unit(report, "a size such as 64m", units::parse_bytes)
    }

    pub(super) fn cpus(&self, report: &mut Report) -> Option<u64> {
        self.unit(report, "a number of cpus such as 0.5", units::parse_cpus)
    }

    fn unit<T>(
        &self,
        report: &mut Report,
        expected: &str,
        parse: fn(&str) -> Result<T, units::UnitError>,
    ) -> Option<T> {
        let Some(text) = self.node.as_text() else {
            self.expected(report, expected);
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(units::UnitError::Malformed { expected }) => {
                self.expected(report, expected);
                None
            }
            Err(error) => {
                self.error(report, format_args!("{text:?}: {error}"));
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, report: &mut Report, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.node.as_text();
        let found = text.and_then(|text| choices.iter().find(|(word, _)| *word == text));
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = match words.as_slice() {
            [only] => (*only).to_owned(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        let near = text.and_then(|text| nearest(text, words.iter().copied()));
        let message = format!("expected {expected}, found {}", self.node.describe());
        match near {
            Some(near) => self.error_hint(report, message, format!("did you mean {near:?}?")),
            None => self.error(report, message),
        }
        None
    }

    /// A mapping of texts in which a missing value is an empty text. Booleans and numbers will do.
    pub(super) fn pairs(&self, report: &mut Report) -> BTreeMap<String, String> {
        let values = self.optional_pairs(report);
        values.into_iter().map(|(key, value, _)| (key, value.unwrap_or_default())).collect()
    }

    /// A mapping of texts, in which values may be missing.
    pub(super) fn optional_pairs(&self, report: &mut Report) -> Vec<(String, Option<String>, Pos)> {
        let Value::Map(map) = &self.node.value else {
            self.expected(report, "a mapping or a list of KEY=VALUE");
            return Vec::new();
        };
        let mut pairs = Vec::with_capacity(map.len());
        for (key, entry) in map {
            let value = match &entry.value.value {
                Value::Null => None,
                Value::Scalar(scalar) => Some(scalar.text.clone()),
                Value::List(_) | Value::Map(_) => {
                    let found = entry.value.describe();
                    let message = format!("{}.{key}: expected a text, found {found}", self.path);
                    report.error(entry.value.pos, message);
                    continue;
                }
            };
            pairs.push((key.clone(), value, entry.key_pos));
        }
        pairs
    }
}

/// A whole number as YAML 1.1 and 1.2 together write it.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = if let Some(digits) = digits.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = digits.strip_prefix("0o") {
        (8, digits)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}
