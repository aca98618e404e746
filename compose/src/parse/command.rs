//! `command` and `entrypoint`: a list, or a line that is split into words as a shell splits it.

use super::field::Field;
use crate::report::Report;

/// Operators of a shell, which nothing interprets here.
const OPERATORS: [&str; 8] = ["&&", "||", ";", "|", ">", ">>", "<", "&"];

/// Reads a command.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Option<Vec<String>> {
    if field.is_list() {
        return Some(field.texts(report));
    }
    let line = field.text(report)?;
    match split(&line) {
        Ok(words) => {
            if let Some(operator) = words.iter().find(|word| OPERATORS.contains(&word.as_str())) {
                report.warn(
                    field.pos(),
                    format!(
                        "{}: {operator:?} is passed on as an argument, since no shell runs this",
                        field.path()
                    ),
                    Some("write [sh, -c, \"...\"] for a shell".to_owned()),
                );
            }
            Some(words)
        }
        Err(message) => {
            field.error(report, message);
            None
        }
    }
}

/// Splits a line into words: quotes keep words together, a backslash takes the next character as it is.
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a ' is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a \" is not closed")? {
                        '"' => break,
                        '\\' if chars.peek().is_some_and(|c| matches!(c, '"' | '\\' | '$' | '`')) => {
                            word.extend(chars.next());
                        }
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("a \\ ends the line")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  a  b\tc\n", &["a", "b", "c"]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a\\ b", &["a b"]),
            ("'' \"\"", &["", ""]),
            ("a'b'\"c\"", &["abc"]),
            ("\"a\\\"b\\n\"", &["a\"b\\n"]),
            ("--x=#y", &["--x=#y"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for line in ["'a", "\"a", "a\\"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
