//! A place in a log that is written and rotated meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::entry::Entry;
use super::tail::start_of_last;

/// Entries that are read at a time.
const ENTRIES: usize = 256;
/// Bytes that are read at a time, about.
const BYTES: usize = 256 << 10;
/// Most rotated files that are looked for.
const ROTATED: u32 = 1000;

/// A place in a log.
pub(super) struct Cursor {
    path: PathBuf,
    current: Option<BufReader<File>>,
    /// Files after the current one, the oldest first.
    newer: VecDeque<File>,
    /// A line that has not been written to its end.
    partial: Vec<u8>,
}

impl Cursor {
    /// At the first of the last `tail` lines, or at the log's beginning.
    pub(super) fn open(path: PathBuf, tail: Option<u64>) -> io::Result<Self> {
        let mut files = open_all(&path)?;
        if let Some(mut wanted) = tail {
            let mut keep = VecDeque::new();
            while let Some(mut file) = files.pop_back() {
                let (start, found) = start_of_last(&file, wanted)?;
                file.seek(SeekFrom::Start(start))?;
                wanted -= found;
                keep.push_front(file);
                if wanted == 0 {
                    break;
                }
            }
            files = keep;
        }
        let current = files.pop_front().map(BufReader::new);
        Ok(Cursor { path, current, newer: files, partial: Vec::new() })
    }

    /// The next entries; none if there are no more at present.
    pub(super) fn read(&mut self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while entries.len() < ENTRIES && bytes < BYTES {
            let Some(current) = &mut self.current else {
                // The container has not written anything yet.
                self.newer = open_all(&self.path)?;
                match self.newer.pop_front() {
                    Some(file) => self.current = Some(BufReader::new(file)),
                    None => break,
                }
                continue;
            };
            let count = current.read_until(b'\n', &mut self.partial)?;
            bytes += count;
            if self.partial.last() == Some(&b'\n') {
                entries.extend(Entry::parse(&self.partial));
                self.partial.clear();
            } else if count == 0 && !self.go_on()? {
                break;
            }
        }
        Ok(entries)
    }

    /// At a file's end: on to the next one, if there is one.
    fn go_on(&mut self) -> io::Result<bool> {
        if let Some(next) = self.newer.pop_front() {
            self.current = Some(BufReader::new(next));
            self.partial.clear();
            return Ok(true);
        }
        let Some(current) = &mut self.current else { return Ok(false) };
        let own = current.get_ref().metadata()?;
        if own.len() < current.stream_position()? {
            // It was begun anew.
            current.rewind()?;
            self.partial.clear();
            return Ok(true);
        }
        if std::fs::metadata(&self.path).map_or(0, |live| live.ino()) == own.ino() {
            return Ok(false);
        }
        let mut files = open_all(&self.path)?;
        let inodes: Vec<u64> = files.iter().map(|f| f.metadata().map_or(0, |m| m.ino())).collect();
        let newest = files.len().checked_sub(1).and_then(|last| inodes.get(last));
        if newest == Some(&own.ino()) || files.is_empty() {
            // In the midst of a rotation, or the log is removed.
            return Ok(false);
        }
        // What was written between our last read and the rotation; the file is complete since.
        if own.len() > current.stream_position()? {
            return Ok(true);
        }
        if let Some(ours) = inodes.iter().position(|inode| *inode == own.ino()) {
            files.drain(..=ours);
        }
        self.newer = files;
        self.current = self.newer.pop_front().map(BufReader::new);
        self.partial.clear();
        Ok(self.current.is_some())
    }
}

/// The log's files, the oldest first. The newest is opened first: a rotation meanwhile then shows a file twice at
/// worst, and that is seen by its inode.
fn open_all(path: &Path) -> io::Result<VecDeque<File>> {
    let mut files = VecDeque::new();
    let mut inodes = Vec::new();
    for number in 0..ROTATED {
        let mut name = path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        match File::open(&name) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                if !inodes.contains(&inode) {
                    inodes.push(inode);
                    files.push_front(file);
                }
            }
            // The newest may be missing in the midst of a rotation.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    struct Log(tempfile::TempDir);

    impl Log {
        fn path(&self) -> PathBuf {
            self.0.path().join("json.log")
        }

        fn write(&self, lines: std::ops::Range<u32>) {
            let mut file = File::options().append(true).create(true).open(self.path()).unwrap();
            for n in lines {
                let time = "2026-01-02T03:04:05.000000006Z";
                writeln!(file, "{{\"log\":\"{n}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}").unwrap();
            }
        }

        fn rotate(&self) {
            let numbered = |n: u32| self.0.path().join(format!("json.log.{n}"));
            for n in (1..5).rev() {
                let _ = fs::rename(numbered(n), numbered(n + 1));
            }
            fs::rename(self.path(), numbered(1)).unwrap();
        }
    }

    fn read(cursor: &mut Cursor) -> Vec<u32> {
        let mut all = Vec::new();
        loop {
            let entries = cursor.read().unwrap();
            if entries.is_empty() {
                return all;
            }
            all.extend(entries.iter().map(|e| String::from_utf8_lossy(&e.line).parse::<u32>().unwrap()));
        }
    }

    fn log() -> Log {
        Log(tempfile::tempdir().unwrap())
    }

    #[test]
    fn all_files_are_read_in_order_and_the_tail_reaches_into_older_ones() {
        let log = log();
        log.write(0..1000);
        log.rotate();
        log.write(1000..1500);
        log.rotate();
        log.write(1500..1510);
        let mut all = Cursor::open(log.path(), None).unwrap();
        assert_eq!(read(&mut all), (0..1510).collect::<Vec<_>>());
        for tail in [0, 1, 10, 11, 510, 600, 9999] {
            let mut cursor = Cursor::open(log.path(), Some(tail)).unwrap();
            let from = 1510u64.saturating_sub(tail) as u32;
            assert_eq!(read(&mut cursor), (from..1510).collect::<Vec<_>>(), "{tail}");
        }
    }

    #[test]
    fn a_log_is_followed_through_rotations_and_from_before_its_first_line() {
        let log = log();
        let mut cursor = Cursor::open(log.path(), Some(5)).unwrap();
        assert!(read(&mut cursor).is_empty());
        log.write(0..3);
        assert_eq!(read(&mut cursor), [0, 1, 2]);
        log.write(3..5);
        log.rotate();
        log.write(5..7);
        log.rotate();
        log.write(7..8);
        assert_eq!(read(&mut cursor), [3, 4, 5, 6, 7]);
        log.rotate();
        assert!(read(&mut cursor).is_empty());
        log.write(8..9);
        assert_eq!(read(&mut cursor), [8]);
    }

    #[test]
    fn half_a_line_waits_for_its_other_half_and_a_file_begun_anew_is_read_anew() {
        let log = log();
        log.write(0..2);
        let mut cursor = Cursor::open(log.path(), None).unwrap();
        let half = "{\"log\":\"7\\n\",\"stream\":\"stdout\",";
        let mut file = File::options().append(true).open(log.path()).unwrap();
        write!(file, "{half}").unwrap();
        assert_eq!(read(&mut cursor), [0, 1]);
        writeln!(file, "\"time\":\"2026-01-02T03:04:05Z\"}}").unwrap();
        assert_eq!(read(&mut cursor), [7]);
        file.set_len(0).unwrap();
        log.write(9..10);
        assert_eq!(read(&mut cursor), [9]);
    }
}
