//! What was wrong with a file, where, and what to do about it.

use std::fmt;

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The project can be used all the same.
    Warning,
    /// The project can't be used.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding about one place in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file as the user would name it; empty when no file is to blame.
    pub file: String,
    /// The line, counted from 1; 0 when no single line is to blame.
    pub line: usize,
    /// The column in characters, counted from 1; 0 when no single line is to blame.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The text of the line.
    pub source_line: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
            if self.line > 0 {
                write!(f, "{}:{}:", self.line, self.column)?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(text) = &self.source_line {
            write_snippet(f, text, self.line, self.column)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// The widest part of a line that a snippet shows.
const SNIPPET_WIDTH: usize = 100;

/// Writes the source line with a caret under the column, cut to a window around it when it is long.
fn write_snippet(f: &mut fmt::Formatter<'_>, text: &str, line: usize, column: usize) -> fmt::Result {
    let caret = column.saturating_sub(1);
    let first = if caret < SNIPPET_WIDTH { 0 } else { caret - SNIPPET_WIDTH / 2 };
    // A tab or a terminal escape sequence would move the caret away from its character, or do worse.
    let window: String =
        text.chars().skip(first).take(SNIPPET_WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    write!(f, "\n{line:>5} | {}", window.trim_end())?;
    write!(f, "\n      | {:width$}^", "", width = caret - first)
}

/// Everything found in one go, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// The findings, errors and warnings alike.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Whether at least one finding is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(column: usize, text: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "compose.yaml".into(),
            line: 3,
            column,
            message: "unknown key \"imag\"".into(),
            hint: Some("did you mean \"image\"?".into()),
            source_line: Some(text.into()),
        }
    }

    #[test]
    fn prints_place_message_snippet_and_hint() {
        let expected = "compose.yaml:3:5: error: unknown key \"imag\"\n    3 |     imag: x\n      |     ^\n  hint: did you mean \"image\"?";
        assert_eq!(diagnostic(5, "    imag: x").to_string(), expected);
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let printed = diagnostic(501, &text).to_string();
        let lines: Vec<&str> = printed.lines().collect();
        let caret = lines[2].find('^').unwrap();
        assert_eq!(&lines[1][caret..=caret], "!");
        assert!(lines[1].len() < 120);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!diagnostic(1, "a\u{1b}[31mred\tx").to_string().contains('\u{1b}'));
    }

    #[test]
    fn without_a_place_only_the_message_is_printed() {
        let bare = Diagnostic { file: String::new(), source_line: None, hint: None, ..diagnostic(0, "") };
        assert_eq!(bare.to_string(), "error: unknown key \"imag\"");
    }
}
