//! Builds the tree from the YAML parser's events: anchors, merge keys, duplicate keys, limits.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag, options};

use super::{Budget, Entry, Map, MergeTag, Node, Scalar, Style, Value};
use crate::report::{FileId, Pos, Report};

/// The largest file that is read.
pub(crate) const MAX_FILE_BYTES: usize = 4 << 20;

/// How deep collections may nest, aliases written out.
const MAX_DEPTH: usize = 64;

/// Stops building; what is wrong has been reported.
struct Stop;

/// Builds the tree of a file's only document. Absent when the file is not YAML.
pub(crate) fn build(text: &str, file: FileId, report: &mut Report, budget: &mut Budget) -> Option<Node> {
    let options = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    Builder { parser, file, report, budget, anchors: BTreeMap::new() }.document().ok()
}

struct Builder<'a, 'input> {
    parser: Parser<'input, StrInput<'input>>,
    file: FileId,
    report: &'a mut Report,
    budget: &'a mut Budget,
    anchors: BTreeMap<usize, Anchored>,
}

/// What an alias puts in its place.
struct Anchored {
    node: Node,
    weight: usize,
    height: usize,
}

/// A node and how many levels of collections it holds.
struct Built {
    node: Node,
    height: usize,
}

/// A mapping key.
enum Key {
    Text(String),
    Merge,
    /// Not usable; reported.
    Bad,
}

impl<'input> Builder<'_, 'input> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) => {
                    if root.is_some() {
                        let pos = self.pos(&span);
                        self.report.error_hint(
                            pos,
                            "a second YAML document is not supported yet",
                            "put it in a file of its own and give both with -f",
                        );
                        return Err(Stop);
                    }
                }
                event => root = Some(self.node(event, span, 0)?.node),
            }
        }
        Ok(root.unwrap_or_else(|| Node::new(Pos::whole(self.file), Value::Null)))
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            // The stream ends with an event of its own, after which nobody asks.
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn scan_error(&mut self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let pos = Pos { file: Some(self.file), line: marker.line(), column: marker.col() + 1 };
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => self.too_deep(pos),
            _ => {
                self.report.error(pos, format!("not valid YAML: {}", error.info()));
                Stop
            }
        }
    }

    fn pos(&self, span: &Span) -> Pos {
        Pos { file: Some(self.file), line: span.start.line(), column: span.start.col() + 1 }
    }

    fn charge(&mut self, units: usize, pos: Pos) -> Result<(), Stop> {
        if self.budget.take(units) {
            return Ok(());
        }
        self.report.error(pos, "the project is too large, aliases written out");
        Err(Stop)
    }

    fn node(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Built, Stop> {
        let pos = self.pos(&span);
        if depth > MAX_DEPTH {
            return Err(self.too_deep(pos));
        }
        self.charge(1, pos)?;
        let (anchor, tag) = (event.anchor_id(), self.tag(event.tag(), pos));
        let mut built = match event {
            Event::Scalar(text, style, ..) => {
                self.charge(text.len() / 32, pos)?;
                Built { node: Node::new(pos, scalar(text.into_owned(), style, tag)), height: 0 }
            }
            Event::SequenceStart(..) => self.list(pos, depth)?,
            Event::MappingStart(..) => self.map(pos, depth)?,
            Event::Alias(id) => return self.alias(id, pos, depth),
            Event::UnresolvedAlias(name) => {
                self.report.error(pos, format!("there is no anchor &{name} before this alias"));
                self.report.spoil(pos);
                Built { node: Node::new(pos, Value::Null), height: 0 }
            }
            // Only events that begin a node are passed in.
            _ => Built { node: Node::new(pos, Value::Null), height: 0 },
        };
        if let ScalarTag::Merge(tag) = tag {
            built.node.tag = tag;
        }
        if let Some(id) = anchor {
            let anchored =
                Anchored { weight: built.node.weight(), height: built.height, node: built.node.clone() };
            self.charge(anchored.weight, pos)?;
            self.anchors.insert(id, anchored);
        }
        Ok(built)
    }

    fn too_deep(&mut self, pos: Pos) -> Stop {
        self.report.error(pos, format!("nested more than {MAX_DEPTH} levels deep"));
        Stop
    }

    fn alias(&mut self, id: usize, pos: Pos, depth: usize) -> Result<Built, Stop> {
        let Some(anchored) = self.anchors.get(&id) else {
            self.report.error(pos, "the alias is inside of what it stands for");
            return Err(Stop);
        };
        let (weight, height) = (anchored.weight, anchored.height);
        if depth + height > MAX_DEPTH {
            return Err(self.too_deep(pos));
        }
        self.charge(weight, pos)?;
        // Charged before it is copied, so that a bomb never unfolds.
        match self.anchors.get(&id) {
            Some(anchored) => Ok(Built { node: anchored.node.clone(), height }),
            None => Err(Stop),
        }
    }

    fn list(&mut self, pos: Pos, depth: usize) -> Result<Built, Stop> {
        let (mut items, mut height) = (Vec::new(), 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Built { node: Node::new(pos, Value::List(items)), height: height + 1 });
            }
            let mut item = self.node(event, span, depth + 1)?;
            if item.node.tag != MergeTag::Usual {
                self.report.error(item.node.pos, "!reset and !override belong on the value of a key");
                item.node.tag = MergeTag::Usual;
            }
            height = height.max(item.height);
            items.push(item.node);
        }
    }

    fn map(&mut self, pos: Pos, depth: usize) -> Result<Built, Stop> {
        let (mut map, mut merged, mut height) = (Map::new(), None, 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_pos = self.pos(&span);
            let key = self.key(event, span, depth)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            height = height.max(value.height);
            let first = match key {
                Key::Bad => continue,
                Key::Merge => merged.replace(value.node).map(|earlier: Node| ("<<".to_owned(), earlier.pos)),
                Key::Text(key) => match map.get(&key) {
                    Some(entry) => Some((key, entry.key_pos)),
                    None => {
                        map.insert(key, Entry { key_pos, value: value.node });
                        None
                    }
                },
            };
            if let Some((key, first)) = first {
                self.report
                    .error(key_pos, format!("the key {key:?} is given twice, first in line {}", first.line));
            }
        }
        if let Some(merged) = merged {
            self.merge_key(&mut map, merged);
        }
        Ok(Built { node: Node::new(pos, Value::Map(map)), height: height + 1 })
    }

    fn key(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Key, Stop> {
        let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text.as_ref() == "<<");
        let node = self.node(event, span, depth + 1)?.node;
        Ok(match node.value {
            Value::Scalar(_) if is_merge => Key::Merge,
            Value::Scalar(scalar) => Key::Text(scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.report.error(node.pos, format!("a key must be a text, found {}", node.describe()));
                Key::Bad
            }
        })
    }

    /// Adds what `<<` names to a mapping, whose own keys go first.
    fn merge_key(&mut self, map: &mut Map, merged: Node) {
        let pos = merged.pos;
        let sources = match merged.value {
            Value::List(items) => items,
            Value::Null => return,
            value @ (Value::Map(_) | Value::Scalar(_)) => vec![Node::new(pos, value)],
        };
        for source in sources {
            match source.value {
                Value::Map(entries) => {
                    for (key, entry) in entries {
                        map.entry(key).or_insert(entry);
                    }
                }
                Value::Null | Value::Scalar(_) | Value::List(_) => {
                    self.report.error(source.pos, format!("<< merges mappings, found {}", source.describe()));
                }
            }
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, pos: Pos) -> ScalarTag {
        let Some(tag) = tag else { return ScalarTag::Implied };
        match (tag.core_suffix(), tag.handle(), tag.suffix()) {
            (Some("str"), ..) => ScalarTag::Text,
            (Some("null"), ..) => ScalarTag::Null,
            (Some(_), ..) => ScalarTag::Implied,
            // A lone `!` says: a text, whatever it looks like.
            (None, "", "!") | (None, "!", "") => ScalarTag::Text,
            (None, "!", "reset") => ScalarTag::Merge(MergeTag::Reset),
            (None, "!", "override") => ScalarTag::Merge(MergeTag::Override),
            _ => {
                let hint = "Compose files know the tags !reset and !override";
                self.report.error_hint(pos, format!("unknown tag {}", tag.original()), hint);
                ScalarTag::Implied
            }
        }
    }
}

/// What a node's tag says.
#[derive(Clone, Copy)]
enum ScalarTag {
    /// Nothing beyond what the node looks like.
    Implied,
    Text,
    Null,
    Merge(MergeTag),
}

fn scalar(text: String, style: ScalarStyle, tag: ScalarTag) -> Value {
    let plain = style == ScalarStyle::Plain;
    match tag {
        ScalarTag::Null => Value::Null,
        ScalarTag::Text => Value::Scalar(Scalar { text, style: Style::Text }),
        ScalarTag::Implied | ScalarTag::Merge(_) => {
            if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
                Value::Null
            } else {
                Value::Scalar(Scalar { text, style: if plain { Style::Plain } else { Style::Text } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<Node>, Vec<String>) {
        let mut report = Report::default();
        let file = report.add_file("t.yaml".into(), text);
        let node = build(text, file, &mut report, &mut Budget::new(100_000));
        let messages =
            report.finish().iter().map(|d| format!("{}:{} {}", d.line, d.column, d.message)).collect();
        (node, messages)
    }

    fn get<'a>(node: &'a Node, path: &str) -> &'a Node {
        path.split('.').fold(node, |node, key| &node.as_map().unwrap()[key].value)
    }

    #[test]
    fn nodes_know_their_places() {
        let (root, errors) = parse("a:\n  b: [1, 'x']\n");
        assert!(errors.is_empty(), "{errors:?}");
        let root = root.unwrap();
        let list = get(&root, "a.b");
        assert_eq!((list.pos.line, list.pos.column), (2, 6));
        let Value::List(items) = &list.value else { panic!("a list") };
        assert_eq!((items[1].pos.line, items[1].pos.column), (2, 10));
    }

    #[test]
    fn merge_keys_add_what_is_missing() {
        let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 0\n";
        let root = parse(text).0.unwrap();
        let text = |path: &str| get(&root, path).as_text().unwrap().to_owned();
        assert_eq!([text("z.a"), text("z.b"), text("z.c")], ["0", "2", "4"]);
    }

    #[test]
    fn broken_documents_are_told_with_their_place() {
        let cases = [
            ("a: 1\na: 2\n", "2:1 the key \"a\" is given twice, first in line 1"),
            ("a: *b\n", "1:4 there is no anchor &b before this alias"),
            ("a: &a [*a]\n", "1:8 the alias is inside of what it stands for"),
            ("a: 1\n---\nb: 1\n", "2:1 a second YAML document is not supported yet"),
            ("? [a]\n: 1\n", "1:3 a key must be a text, found a list"),
            ("a: {<<: 1}\n", "1:9 << merges mappings, found the number 1"),
            ("a: !foo 1\n", "1:9 unknown tag !foo"),
            ("a: [!reset 1]\n", "1:12 !reset and !override belong on the value of a key"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).1, [expected], "{text}");
        }
        assert!(parse("a: [1\n").1[0].contains("not valid YAML"));
        assert!(parse("a: \"x\n").1[0].contains("not valid YAML"));
    }

    #[test]
    fn bombs_and_towers_are_refused_early() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let alias = format!("*a{}", n - 1);
            bomb.push_str(&format!("a{n}: &a{n} [{}]\n", vec![alias; 9].join(", ")));
        }
        assert!(parse(&bomb).1[0].contains("too large, aliases written out"));
        let tower = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(!parse(&tower).1.is_empty());
        let mut stairs = String::from("a0: &a0 [x]\n");
        for n in 1..100 {
            stairs.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
        }
        assert!(parse(&stairs).1[0].contains("nested more than 64 levels deep"));
    }

    #[test]
    fn scalars_keep_their_text() {
        let root = parse("a: 010\nb: ~\nc: 'null'\nd: !!str true\ne: !reset null\nf: yes\n").0.unwrap();
        assert_eq!(get(&root, "a").as_text(), Some("010"));
        assert!(get(&root, "b").is_null());
        assert_eq!(get(&root, "c").as_text(), Some("null"));
        assert_eq!(get(&root, "d").describe(), "the text \"true\"");
        assert_eq!(get(&root, "e").tag, MergeTag::Reset);
        assert_eq!(get(&root, "f").describe(), "the text \"yes\"");
    }
}
