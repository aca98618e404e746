//! Variables in scalars: `$A ${A} ${A:-b} ${A-b} ${A:?e} ${A?e} ${A:+b} ${A+b} $$`, nested at will.

use std::collections::BTreeMap;

use crate::report::{Pos, Report};
use crate::tree::{Budget, Node, Scalar, Style, Value};

/// How deep defaults may hold defaults.
const MAX_NESTING: usize = 32;

/// How long one scalar may become.
const MAX_RESULT_BYTES: usize = 1 << 20;

/// The variables there are.
pub(crate) type Variables = BTreeMap<String, String>;

/// Why a text can't be interpolated, and where in it, in characters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

/// Puts values in the place of variables in every scalar below `node`. Keys stay as they are.
pub(crate) fn interpolate(node: &mut Node, variables: &Variables, report: &mut Report, budget: &mut Budget) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => interpolate_scalar(scalar, node.pos, variables, report, budget),
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, variables, report, budget)),
        Value::Map(map) => {
            map.values_mut().for_each(|entry| interpolate(&mut entry.value, variables, report, budget));
        }
    }
}

fn interpolate_scalar(
    scalar: &mut Scalar,
    pos: Pos,
    variables: &Variables,
    report: &mut Report,
    budget: &mut Budget,
) {
    if !scalar.text.contains('$') {
        return;
    }
    match substitute(&scalar.text, variables, &mut |name| report.warn_unset(pos, name)) {
        Ok(text) => {
            if !budget.take(text.len() / 32) {
                report.error(pos, "the project is too large once its variables are filled in");
                report.spoil(pos);
                scalar.text.clear();
                return;
            }
            *scalar = Scalar { text, style: Style::Text };
        }
        Err(failure) => {
            let whole = pos;
            // Within a plain scalar on one line, text and file count columns alike.
            let pos = match scalar.style {
                Style::Plain if !scalar.text.contains('\n') => pos.right(failure.offset),
                Style::Plain | Style::Text => pos,
            };
            match failure.hint {
                Some(hint) => report.error_hint(pos, failure.message, hint),
                None => report.error(pos, failure.message),
            }
            // What comes after sees an empty text, not half a template, and doesn't complain about it.
            report.spoil(whole);
            *scalar = Scalar { text: String::new(), style: Style::Text };
        }
    }
}

/// The text with values in the place of variables. Calls `unset` for each variable that is empty for
/// want of a value.
pub(crate) fn substitute(
    text: &str,
    variables: &Variables,
    unset: &mut dyn FnMut(&str),
) -> Result<String, Failure> {
    let chars: Vec<char> = text.chars().collect();
    let mut template = Template { chars: &chars, at: 0, variables, unset };
    template.run(false, true, 0)
}

struct Template<'a> {
    chars: &'a [char],
    at: usize,
    variables: &'a Variables,
    unset: &'a mut dyn FnMut(&str),
}

impl Template<'_> {
    /// Reads to the end, or to the `}` that closes an expression. What is not `live` is read over: a
    /// default that isn't needed must not complain about its variables.
    fn run(&mut self, inside: bool, live: bool, depth: usize) -> Result<String, Failure> {
        if depth > MAX_NESTING {
            return Err(self.failure(
                self.at,
                format!("variables are nested more than {MAX_NESTING} deep"),
                None,
            ));
        }
        let mut result = String::new();
        while let Some(&c) = self.chars.get(self.at) {
            match c {
                '}' if inside => return Ok(result),
                '$' => {
                    let value = self.expression(live, depth)?;
                    result.push_str(&value);
                    if result.len() > MAX_RESULT_BYTES {
                        let message = "the text grows beyond 1 MiB once its variables are filled in";
                        return Err(self.failure(0, message, None));
                    }
                }
                c => {
                    self.at += 1;
                    result.push(c);
                }
            }
        }
        Ok(result)
    }

    /// Reads what a `$` begins.
    fn expression(&mut self, live: bool, depth: usize) -> Result<String, Failure> {
        let start = self.at;
        self.at += 1;
        match self.chars.get(self.at) {
            Some('$') => {
                self.at += 1;
                Ok("$".to_owned())
            }
            Some('{') => {
                self.at += 1;
                self.braced(start, live, depth)
            }
            Some(&c) if is_first(c) => {
                let name = self.name();
                Ok(self.value_or_empty(&name, live))
            }
            _ => Err(self.failure(start, "a $ here begins no variable", Some("write $$ for a dollar sign"))),
        }
    }

    /// Reads `NAME}` or `NAME`, an operator, a word and `}`.
    fn braced(&mut self, start: usize, live: bool, depth: usize) -> Result<String, Failure> {
        if !self.chars.get(self.at).copied().is_some_and(is_first) {
            let hint = "a name is letters, digits and _, and no digit comes first";
            return Err(self.failure(start, "${ must be followed by a variable's name", Some(hint)));
        }
        let name = self.name();
        if self.eat('}') {
            return Ok(self.value_or_empty(&name, live));
        }
        let non_empty = self.eat(':');
        let operator = self.chars.get(self.at).copied();
        let value = self.variables.get(&name).filter(|value| !(non_empty && value.is_empty())).cloned();
        let Some(operator @ ('-' | '?' | '+')) = operator else {
            return Err(if operator.is_none() {
                self.unclosed(start)
            } else {
                let hint = "the forms are ${A}, ${A:-default}, ${A-default}, ${A:?message}, ${A?message}, ${A:+value} and ${A+value}";
                self.failure(start, format!("malformed expression after ${{{name}"), Some(hint))
            });
        };
        self.at += 1;
        let wanted = live && (operator == '+') == value.is_some();
        let word = self.run(true, wanted, depth + 1)?;
        if !self.eat('}') {
            return Err(self.unclosed(start));
        }
        match (operator, value) {
            ('-', None) => Ok(word),
            ('-' | '?', Some(value)) => Ok(value),
            ('+', Some(_)) => Ok(word),
            ('?', None) if live => {
                let reason = if word.is_empty() { String::new() } else { format!(": {word}") };
                Err(self.failure(start, format!("the required variable {name:?} has no value{reason}"), None))
            }
            _ => Ok(String::new()),
        }
    }

    fn value_or_empty(&mut self, name: &str, live: bool) -> String {
        match self.variables.get(name) {
            Some(value) => value.clone(),
            None => {
                if live {
                    (self.unset)(name);
                }
                String::new()
            }
        }
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|&c| is_first(c) || c.is_ascii_digit()) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.chars.get(self.at) == Some(&c);
        self.at += usize::from(found);
        found
    }

    fn unclosed(&self, start: usize) -> Failure {
        self.failure(start, "${ is not closed", Some("add the missing }"))
    }

    #[allow(clippy::unused_self, reason = "reads as part of the template")]
    fn failure(&self, offset: usize, message: impl Into<String>, hint: Option<&'static str>) -> Failure {
        Failure { offset, message: message.into(), hint }
    }
}

fn is_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (Result<String, Failure>, Vec<String>) {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())]);
        let mut unset = Vec::new();
        let result = substitute(text, &variables, &mut |name| unset.push(name.to_owned()));
        (result, unset)
    }

    #[test]
    fn every_form_does_what_docker_does() {
        let cases = [
            ("$A", "1"),
            ("${A}", "1"),
            ("x$A-y", "x1-y"),
            ("$$A", "$A"),
            ("$$$A", "$1"),
            ("${A:-b}", "1"),
            ("${E:-b}", "b"),
            ("${E-b}", ""),
            ("${U:-b}", "b"),
            ("${U-b}", "b"),
            ("${A:?e}", "1"),
            ("${E?e}", ""),
            ("${A:+b}", "b"),
            ("${E:+b}", ""),
            ("${E+b}", "b"),
            ("${U+b}", ""),
            ("${U:-${E:-${A}}}", "1"),
            ("${U:-a ${A} b}", "a 1 b"),
            ("${A:-${U:?not asked for}}", "1"),
            ("${U:-$$x}", "$x"),
            ("${U:-}", ""),
            ("ü${A}é", "ü1é"),
        ];
        for (text, expected) in cases {
            let (result, unset) = run(text);
            assert_eq!(result.as_deref(), Ok(expected), "{text}");
            assert!(unset.is_empty(), "{text}");
        }
    }

    #[test]
    fn unset_variables_are_empty_and_told() {
        assert_eq!(run("a${U}b$V"), (Ok("ab".into()), vec!["U".into(), "V".into()]));
        assert_eq!(run("${U:-$V}").1, ["V"]);
        assert!(run("${A:-$V}").1.is_empty());
    }

    #[test]
    fn malformed_templates_name_the_place() {
        let cases = [
            ("ab$", 2, "a $ here begins no variable"),
            ("$1", 0, "a $ here begins no variable"),
            ("x${A", 1, "${ is not closed"),
            ("x${A:-b", 1, "${ is not closed"),
            ("${}", 0, "${ must be followed by a variable's name"),
            ("${A!b}", 0, "malformed expression after ${A"),
            ("${A:b}", 0, "malformed expression after ${A"),
            ("${U:?set it}", 0, "the required variable \"U\" has no value: set it"),
            ("${U?}", 0, "the required variable \"U\" has no value"),
        ];
        for (text, offset, message) in cases {
            let failure = run(text).0.unwrap_err();
            assert_eq!((failure.offset, failure.message.as_str()), (offset, message), "{text}");
        }
        assert!(run(&"${U:-".repeat(100)).0.unwrap_err().message.contains("nested more than"));
    }
}
