//! Files of variables: `.env` and what `env_file` names.

use crate::interpolate::{Failure, Variables, substitute};

/// Why a line can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineError {
    pub(crate) line: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

/// How a file of variables is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// With quotes, comments and variables.
    #[default]
    Usual,
    /// `KEY=VALUE`, the value as it is.
    Raw,
}

/// A file's variables in order, and those it used that have no value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) unset: Vec<(usize, String)>,
}

/// Reads a file. Values may use `outer` and the variables of earlier lines, `outer` going first.
pub(crate) fn parse(text: &str, format: Format, outer: &Variables) -> Result<EnvFile, LineError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut file = EnvFile::default();
    let mut known = outer.clone();
    let mut lines = Lines { rest: text, line: 0 };
    while let Some(line) = lines.next() {
        let number = lines.line;
        let Some((name, value)) = assignment(line, number)? else { continue };
        let value = match (value, format) {
            // A name alone takes its value from outside; without one there it is not set.
            (None, _) => match outer.get(name) {
                Some(value) => value.clone(),
                None => continue,
            },
            (Some(value), Format::Raw) => value.to_owned(),
            (Some(value), Format::Usual) => {
                let mut unset = |name: &str| file.unset.push((number, name.to_owned()));
                self::value(value, &mut lines, number, &known, &mut unset)?
            }
        };
        if !outer.contains_key(name) {
            known.insert(name.to_owned(), value.clone());
        }
        file.variables.push((name.to_owned(), value));
    }
    Ok(file)
}

/// Lines with their numbers; a quoted value may take more than one.
struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

/// Splits a line into a name and what follows `=` or `:`; nothing for blank lines and comments.
fn assignment(line: &str, number: usize) -> Result<Option<(&str, Option<&str>)>, LineError> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let end = line.find(['=', ':']).unwrap_or(line.len());
    let name = line[..end].trim_end();
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !valid {
        return Err(LineError {
            line: number,
            message: format!("{name:?} is no variable's name"),
            hint: Some("each line is NAME=VALUE, a comment after #, or blank"),
        });
    }
    Ok(Some((name, line.get(end + 1..))))
}

/// Reads a value: in quotes, maybe over several lines, or to the end of the line or a comment.
fn value(
    text: &str,
    lines: &mut Lines<'_>,
    number: usize,
    known: &Variables,
    unset: &mut dyn FnMut(&str),
) -> Result<String, LineError> {
    let text = text.trim();
    let failed = |failure: Failure| LineError { line: number, message: failure.message, hint: failure.hint };
    match text.chars().next() {
        Some('\'') => quoted(&text[1..], '\'', lines, number),
        Some('"') => {
            let raw = quoted(&text[1..], '"', lines, number)?;
            substitute(&unescape(&raw), known, unset).map_err(failed)
        }
        _ => {
            let end = comment_start(text).unwrap_or(text.len());
            substitute(text[..end].trim_end(), known, unset).map_err(failed)
        }
    }
}

/// Where a comment begins: at a `#` that follows white space or stands first.
fn comment_start(text: &str) -> Option<usize> {
    text.match_indices('#')
        .map(|(at, _)| at)
        .find(|&at| at == 0 || text[..at].ends_with(|c: char| c.is_whitespace()))
}

/// Reads to the closing quote, over further lines when it has to.
fn quoted(first: &str, quote: char, lines: &mut Lines<'_>, number: usize) -> Result<String, LineError> {
    let mut value = String::new();
    let mut line = first;
    loop {
        let mut escaped = false;
        let end = line.char_indices().find(|&(_, c)| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped && quote == '"';
            closes
        });
        if let Some((end, _)) = end {
            value.push_str(&line[..end]);
            let rest = line[end + 1..].trim();
            if rest.is_empty() || rest.starts_with('#') {
                return Ok(value);
            }
            let message = format!("{rest:?} follows the closing quote");
            return Err(LineError { line: lines.line, message, hint: None });
        }
        value.push_str(line);
        value.push('\n');
        line = lines.next().ok_or_else(|| LineError {
            line: number,
            message: format!("the quote {quote} is not closed"),
            hint: None,
        })?;
    }
}

/// Resolves the escapes of double quotes. `\$` becomes the `$$` that interpolation turns into `$`.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('$') => result.push_str("$$"),
            Some(c @ ('"' | '\\')) => result.push(c),
            Some(c) => result.extend(['\\', c]),
            None => result.push('\\'),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn usual(text: &str) -> Result<Vec<(String, String)>, LineError> {
        let outer = BTreeMap::from([("OUT".to_owned(), "o".to_owned())]);
        parse(text, Format::Usual, &outer).map(|file| file.variables)
    }

    fn one(text: &str) -> String {
        usual(text).unwrap().remove(0).1
    }

    #[test]
    fn values_read_as_docker_reads_them() {
        let cases = [
            ("A=b", "b"),
            ("export A=b", "b"),
            ("A = b ", "b"),
            ("A: b", "b"),
            ("A=b # c", "b"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("A=# c", ""),
            ("A='b # $c'", "b # $c"),
            ("A=\"b\\n\\\"c\\\"\" # d", "b\n\"c\""),
            ("A=\"\\$x $OUT\"", "$x o"),
            ("A=\"b\nc\"", "b\nc"),
            ("A=${OUT:-x}", "o"),
            ("A=${NO:-x}", "x"),
            ("A=a=b", "a=b"),
            ("\u{feff}A=b\r\n", "b"),
            ("OUT", "o"),
        ];
        for (text, expected) in cases {
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn earlier_lines_can_be_used_and_unset_names_are_left_out() {
        assert_eq!(usual("A=1\nB=${A}2\n").unwrap()[1].1, "12");
        assert_eq!(usual("# c\n\nNOTSET\n").unwrap(), []);
        let file = parse("A=1\nB=$NO\n", Format::Usual, &BTreeMap::new()).unwrap();
        assert_eq!(file.unset, [(2, "NO".to_owned())]);
    }

    #[test]
    fn raw_values_stay_as_they_are() {
        let file = parse("A='b' # $c\n", Format::Raw, &BTreeMap::new()).unwrap();
        assert_eq!(file.variables, [("A".to_owned(), "'b' # $c".to_owned())]);
    }

    #[test]
    fn bad_lines_are_told_by_number() {
        for (text, line) in [("A=1\n1B=2", 2), ("A=1\nB='x\ny", 2), ("A=\"x\" y", 1), ("A=$", 1), ("=x", 1)] {
            assert_eq!(usual(text).unwrap_err().line, line, "{text}");
        }
    }
}
