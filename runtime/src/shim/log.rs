//! A container's log: Docker's json-file lines, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::layout::LogConfig;

/// A longer line is cut into several entries, of which only the last ends with a newline, as Docker does.
pub(crate) const MAX_LINE: usize = 16 * 1024;

/// Which of the container's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The log of one container.
pub(crate) struct Log {
    config: LogConfig,
    file: File,
    size: u64,
    entry: Vec<u8>,
    lost: u64,
}

impl Log {
    pub(crate) fn open(config: &LogConfig) -> io::Result<Self> {
        let file = open(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self { config: config.clone(), file, size, entry: Vec::new(), lost: 0 })
    }

    /// Writes a line, or a piece of a long one. A log that can't be written must not stop the container:
    /// what is lost is counted, and said as soon as there is room again.
    pub(crate) fn line(&mut self, stream: Stream, line: &[u8]) {
        if self.lost > 0 {
            let note =
                format!("wharf: {} lines of this log were lost, as it could not be written\n", self.lost);
            if self.append(Stream::Stderr, note.as_bytes()).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if self.append(stream, line).is_err() {
            self.lost += 1;
        }
    }

    fn append(&mut self, stream: Stream, line: &[u8]) -> io::Result<()> {
        if self.config.max_size.is_some_and(|max| self.size >= max) {
            self.rotate()?;
        }
        self.entry.clear();
        encode(&mut self.entry, stream, line, SystemTime::now());
        match self.file.write_all(&self.entry) {
            Ok(()) => {
                self.size += self.entry.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half an entry would spoil the next one too.
                self.file.set_len(self.size)?;
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| {
            let mut name = self.config.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        let kept = self.config.max_files.max(1) - 1;
        if kept == 0 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        for n in (1..kept).rev() {
            ignore_missing(fs::rename(numbered(n), numbered(n + 1)))?;
        }
        ignore_missing(fs::rename(&self.config.path, numbered(1)))?;
        self.file = open(&self.config.path)?;
        self.size = 0;
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Gives every full line (or full piece of a long line) to `each`, and keeps the rest.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.partial.len();
            let head = &bytes[..bytes.len().min(room)];
            let newline = head.iter().position(|b| *b == b'\n');
            let taken = newline.map_or(head.len(), |n| n + 1);
            let full = newline.is_some() || taken == room;
            if full && self.partial.is_empty() {
                each(&head[..taken]);
            } else {
                self.partial.extend_from_slice(&head[..taken]);
                if full {
                    each(&self.partial);
                    self.partial.clear();
                }
            }
            bytes = &bytes[taken..];
        }
    }

    /// Gives what is left when the stream ends.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            each(&self.partial);
            self.partial = Vec::new();
        }
    }
}

/// Appends `{"log":"...","stream":"stdout","time":"..."}` and a newline.
fn encode(out: &mut Vec<u8>, stream: Stream, line: &[u8], time: SystemTime) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in line.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(match stream {
        Stream::Stdout => b"stdout",
        Stream::Stderr => b"stderr",
    });
    out.extend_from_slice(b"\",\"time\":\"");
    timestamp(out, time);
    out.extend_from_slice(b"\"}\n");
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}

/// RFC 3339 in UTC with nanoseconds.
fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Writing to a vector can't fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
        since.subsec_nanos()
    );
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, counted in years that begin in March
/// so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_IN_ERA: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_IN_ERA, days % DAYS_IN_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for piece in pieces {
            lines.push(piece, |l| out.push(l.to_vec()));
        }
        lines.finish(|l| out.push(l.to_vec()));
        out
    }

    #[test]
    fn bytes_become_lines_however_they_come() {
        assert_eq!(split(&[b"a\nb", b"c\n", b"\n", b"d"]), [&b"a\n"[..], b"bc\n", b"\n", b"d"]);
    }

    #[test]
    fn long_lines_are_cut_as_docker_does() {
        let long = vec![b'x'; MAX_LINE * 2 + 10];
        let out = split(&[&long[..100], &long[100..], b"\n"]);
        let lengths: Vec<usize> = out.iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 11]);
        assert!(out[2].ends_with(b"\n") && !out[0].ends_with(b"\n"));
    }

    #[test]
    fn entries_are_json_whatever_the_bytes() {
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::new(1_709_251_199, 5);
        encode(&mut out, Stream::Stderr, b"a\"\\\t\x01\xff\xe4\xb8\xad\n", time);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["log"], "a\"\\\t\u{1}\u{fffd}\u{4e2d}\n");
        assert_eq!(value["stream"], "stderr");
        assert_eq!(value["time"], "2024-02-29T23:59:59.000000005Z");
    }

    #[test]
    fn rotation_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("json.log");
        let config = LogConfig { path: path.clone(), max_size: Some(100), max_files: 3 };
        let mut log = Log::open(&config).unwrap();
        for n in 0..20 {
            log.line(Stream::Stdout, format!("line number {n:02} of many\n").as_bytes());
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("json.log").contains("number 19"));
        assert!(read("json.log.1").contains("number 17"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn one_file_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("json.log");
        let config = LogConfig { path: path.clone(), max_size: Some(300), max_files: 1 };
        let mut log = Log::open(&config).unwrap();
        for n in 0..50 {
            log.line(Stream::Stdout, format!("{n}\n").as_bytes());
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() < 400 && text.lines().all(|l| l.starts_with('{')));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
