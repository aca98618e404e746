//! Places in files, and the collector that turns findings about them into diagnostics.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};

/// How many findings are kept; more would bury the ones that matter.
const MAX_FINDINGS: usize = 100;

/// How long a message may be: it can hold text from a file.
const MAX_MESSAGE: usize = 500;

/// The longest line that goes with a finding.
const MAX_LINE_BYTES: usize = 4_096;

/// Which of the files read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(u32);

/// A place in a file. Line 0 stands for the file as a whole, and no file for the input as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pos {
    pub(crate) file: Option<FileId>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Pos {
    /// No place at all.
    pub(crate) const NOWHERE: Pos = Pos { file: None, line: 0, column: 0 };

    /// A file as a whole.
    pub(crate) fn whole(file: FileId) -> Pos {
        Pos { file: Some(file), line: 0, column: 0 }
    }

    /// The same line, `characters` further right.
    pub(crate) fn right(self, characters: usize) -> Pos {
        Pos { column: self.column + characters, ..self }
    }
}

/// The findings so far, and the files that they are about.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sources: Vec<Source>,
    findings: Vec<Finding>,
    seen: BTreeSet<(Pos, String)>,
    unset: BTreeSet<String>,
    spoilt: BTreeSet<Pos>,
    overflowed: bool,
}

#[derive(Debug)]
struct Source {
    name: String,
    text: String,
}

#[derive(Debug)]
struct Finding {
    severity: Severity,
    pos: Pos,
    message: String,
    hint: Option<String>,
}

impl Report {
    /// Takes note of a file, so that findings can show its lines. One that is read again stays the same
    /// file, so that what is wrong with it is told once.
    pub(crate) fn add_file(&mut self, name: String, text: &str) -> FileId {
        let known = self.sources.iter().position(|source| source.name == name && source.text == text);
        if let Some(known) = known.and_then(|index| u32::try_from(index).ok()) {
            return FileId(known);
        }
        let id = FileId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        self.sources.push(Source { name, text: text.to_owned() });
        id
    }

    pub(crate) fn error(&mut self, pos: Pos, message: impl Into<String>) {
        self.add(Severity::Error, pos, &message.into(), None);
    }

    pub(crate) fn error_hint(&mut self, pos: Pos, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, pos, &message.into(), Some(hint.into()));
    }

    pub(crate) fn warn(&mut self, pos: Pos, message: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Warning, pos, &message.into(), hint);
    }

    /// Warns about an unset variable, once for each.
    pub(crate) fn warn_unset(&mut self, pos: Pos, variable: &str) {
        if self.unset.insert(variable.to_owned()) {
            self.warn(
                pos,
                format!("the variable {variable:?} is not set and becomes an empty text"),
                Some(format!("set it, or give it a default: ${{{variable}:-value}}")),
            );
        }
    }

    /// Takes note that a value is not what the user wrote, so that nothing more is said about it.
    pub(crate) fn spoil(&mut self, pos: Pos) {
        self.spoilt.insert(pos);
    }

    /// Whether no more findings are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.overflowed
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, pos: Pos, message: &str, hint: Option<String>) {
        if self.spoilt.contains(&pos) {
            return;
        }
        let message = presentable(message);
        // An anchor's content is looked at once for every use, but has one place.
        if !self.seen.insert((pos, message.clone())) {
            return;
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { severity, pos, message, hint });
        } else if !self.overflowed {
            self.overflowed = true;
            let message = format!("more than {MAX_FINDINGS} findings, the rest is not shown");
            self.findings.push(Finding { severity: Severity::Error, pos: Pos::NOWHERE, message, hint: None });
        }
    }

    /// Everything found, by file and line.
    pub(crate) fn finish(mut self) -> Diagnostics {
        // What has no place, such as a whole file that can't be read, sorts first.
        self.findings.sort_by_key(|finding| finding.pos);
        let Report { findings, sources, .. } = self;
        let diagnostics = findings
            .into_iter()
            .map(|finding| {
                let source = finding.pos.file.and_then(|file| sources.get(file.0 as usize));
                let line = finding.pos.line.checked_sub(1);
                Diagnostic {
                    severity: finding.severity,
                    file: source.map(|source| source.name.clone()).unwrap_or_default(),
                    line: finding.pos.line,
                    column: finding.pos.column,
                    message: finding.message,
                    hint: finding.hint,
                    source_line: source
                        .zip(line)
                        .and_then(|(source, line)| source.text.lines().nth(line))
                        .filter(|line| line.len() <= MAX_LINE_BYTES)
                        .map(str::to_owned),
                }
            })
            .collect();
        Diagnostics(diagnostics)
    }
}

/// A message without control characters, which could steer a terminal, and cut when it is too long.
fn presentable(message: &str) -> String {
    let mut text: String = message
        .chars()
        .take(MAX_MESSAGE)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if message.chars().nth(MAX_MESSAGE).is_some() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_out_in_order_with_their_lines_and_once() {
        let mut report = Report::default();
        let file = report.add_file("a.yaml".into(), "one\ntwo\n");
        let at = |line| Pos { file: Some(file), line, column: 1 };
        report.error(at(2), "second");
        report.error(at(1), "first");
        report.error(at(1), "first");
        let found = report.finish();
        let texts: Vec<_> = found.iter().map(|d| (d.message.as_str(), d.source_line.as_deref())).collect();
        assert_eq!(texts, [("first", Some("one")), ("second", Some("two"))]);
    }

    #[test]
    fn findings_are_bounded() {
        let mut report = Report::default();
        for n in 0..10_000 {
            report.error(Pos::NOWHERE, n.to_string());
        }
        assert_eq!(report.finish().0.len(), MAX_FINDINGS + 1);
    }
}
