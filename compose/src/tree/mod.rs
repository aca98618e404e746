//! YAML as a tree in which every node knows its place.

mod build;

use indexmap::IndexMap;

use crate::report::Pos;

pub(crate) use build::{MAX_FILE_BYTES, build};

/// A mapping with keys in the file's order.
pub(crate) type Map = IndexMap<String, Entry>;

/// A value and where its key stands.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key_pos: Pos,
    pub(crate) value: Node,
}

/// A YAML node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) tag: MergeTag,
    pub(crate) value: Value,
}

/// What a node's tag says about merging it with the same key of an earlier file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MergeTag {
    /// The key's usual rule.
    #[default]
    Usual,
    /// `!reset`: the key is taken away.
    Reset,
    /// `!override`: the value replaces the earlier one.
    Override,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// A scalar as written. It gets a type only where one is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: may be a number or a boolean.
    Plain,
    /// In quotes or as a block, or made by interpolation: a text.
    Text,
}

impl Node {
    pub(crate) fn new(pos: Pos, value: Value) -> Node {
        Node { pos, tag: MergeTag::Usual, value }
    }

    /// A text at a place.
    pub(crate) fn text(pos: Pos, text: impl Into<String>) -> Node {
        Node::new(pos, Value::Scalar(Scalar { text: text.into(), style: Style::Text }))
    }

    /// A mapping whose keys all stand at one place: how a short form is written out.
    pub(crate) fn object<'a>(pos: Pos, entries: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
        let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), Entry { key_pos: pos, value }));
        Node::new(pos, Value::Map(entries.collect()))
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Whether two nodes say the same, wherever they stand.
    pub(crate) fn same(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Scalar(a), Value::Scalar(b)) => a.text == b.text,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| a.value.same(&b.value)))
            }
            _ => false,
        }
    }

    /// What the node costs of the budget: a unit for itself and one for every 32 bytes of text.
    pub(crate) fn weight(&self) -> usize {
        match &self.value {
            Value::Null => 1,
            Value::Scalar(scalar) => text_weight(&scalar.text),
            Value::List(items) => 1 + items.iter().map(Node::weight).sum::<usize>(),
            Value::Map(map) => {
                1 + map.iter().map(|(key, entry)| text_weight(key) + entry.value.weight()).sum::<usize>()
            }
        }
    }

    /// What the node is, for messages that expected something else.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar(Scalar { text, style: Style::Plain }) if is_bool(text) => {
                format!("the boolean {text}")
            }
            Value::Scalar(Scalar { text, style: Style::Plain }) if is_number(text) => {
                format!("the number {text}")
            }
            Value::Scalar(Scalar { text, .. }) if text.chars().count() > 60 => {
                format!("the text {:?}...", text.chars().take(60).collect::<String>())
            }
            Value::Scalar(Scalar { text, .. }) => format!("the text {text:?}"),
        }
    }
}

fn text_weight(text: &str) -> usize {
    1 + text.len() / 32
}

/// Whether a plain scalar is a boolean. YAML 1.1's `yes`, `no`, `on` and `off` are texts here.
pub(crate) fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.parse::<f64>().is_ok()
}

/// What all trees of one load may cost together, so that no small input grows without bound.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) fn new(units: usize) -> Budget {
        Budget { left: units }
    }

    /// Takes what something costs; false when there isn't enough left.
    pub(crate) fn take(&mut self, units: usize) -> bool {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }
}
