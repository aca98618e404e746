//! Finds where the last lines of a file begin, reading from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK: u64 = 64 << 10;

/// Where the last `lines` lines begin, and how many there are if the file has fewer.
pub(super) fn start_of_last(file: &File, lines: u64) -> io::Result<(u64, u64)> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok((end, 0));
    }
    let mut block = vec![0; usize::try_from(BLOCK.min(end)).unwrap_or(0)];
    let (mut at, mut found) = (end, 0);
    while at > 0 {
        let size = BLOCK.min(at);
        at -= size;
        let part = &mut block[..usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(part, at)?;
        for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = at + index as u64 + 1;
            // The file's last line feed ends the last line, and begins none.
            if after == end {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok((after, lines));
            }
        }
    }
    Ok((0, if end > 0 { found + 1 } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn last(text: &str, lines: u64) -> (String, u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        let (start, found) = start_of_last(&file, lines).unwrap();
        (text[usize::try_from(start).unwrap()..].to_owned(), found)
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        assert_eq!(last("a\nb\nc\n", 2), ("b\nc\n".into(), 2));
        assert_eq!(last("a\nb\nc", 1), ("c".into(), 1));
        assert_eq!(last("a\nb\n", 9), ("a\nb\n".into(), 2));
        assert_eq!(last("a\nb\n", 0), (String::new(), 0));
        assert_eq!(last("", 3), (String::new(), 0));
        let long = format!("{}\n", "x".repeat(100_000)).repeat(5);
        assert_eq!(last(&long, 2).0.len(), 200_002);
    }
}
