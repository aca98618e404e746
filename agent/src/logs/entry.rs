//! One line of a container's log file, in Docker's json-file form.

use serde::Deserialize;

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    /// `stdout` or `stderr`.
    pub(super) stream: String,
    /// The line without its line feed.
    pub(super) line: Vec<u8>,
}

#[derive(Deserialize)]
struct Raw {
    log: String,
    stream: String,
    time: jiff::Timestamp,
}

impl Entry {
    /// Reads a line of the file; none if it isn't one of ours, such as half of one that a crash left.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let raw: Raw = serde_json::from_slice(line).ok()?;
        let mut line = raw.log.into_bytes();
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let at = u64::try_from(raw.time.as_nanosecond()).unwrap_or(0);
        Some(Entry { at, stream: raw.stream, line })
    }
}
