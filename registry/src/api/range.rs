//! The Range header of a download and the Content-Range header of a chunk.

use std::ops::Range;

/// What a Range header asks for, of something with a known size.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: there is no header, or one that may be ignored (several ranges, other units).
    All,
    /// This part.
    Part(Range<u64>),
    /// Nothing that exists.
    Unsatisfiable,
}

/// Reads a Range header.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some((first, last)) = header.and_then(|h| h.strip_prefix("bytes=")).and_then(|h| h.split_once('-'))
    else {
        return Asked::All;
    };
    let range = match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.trim().is_empty() => first..size,
        (None, Some(suffix)) if first.trim().is_empty() => size.saturating_sub(suffix)..size,
        _ => return Asked::All,
    };
    if range.is_empty() { Asked::Unsatisfiable } else { Asked::Part(range) }
}

/// Reads a chunk's Content-Range, `FIRST-LAST` with both ends included: its offset and its length. The
/// usual HTTP form, `bytes FIRST-LAST/SIZE`, is taken as well.
pub(super) fn content_range(header: &str) -> Option<(u64, u64)> {
    let header = header.strip_prefix("bytes ").unwrap_or(header);
    let header = header.split_once('/').map_or(header, |(range, _)| range);
    let (first, last) = header.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

/// Digits only: `str::parse` would take a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_download() {
        assert_eq!(asked(None, 10), Asked::All);
        assert_eq!(asked(Some("bytes=0-0"), 10), Asked::Part(0..1));
        assert_eq!(asked(Some("bytes=2-"), 10), Asked::Part(2..10));
        assert_eq!(asked(Some("bytes=-3"), 10), Asked::Part(7..10));
        assert_eq!(asked(Some("bytes=-30"), 10), Asked::Part(0..10));
        assert_eq!(asked(Some("bytes=5-99999999999999999"), 10), Asked::Part(5..10));
        assert_eq!(asked(Some("bytes=0-18446744073709551615"), 10), Asked::Part(0..10));
        assert_eq!(asked(Some("bytes=10-"), 10), Asked::Unsatisfiable);
        assert_eq!(asked(Some("bytes=-0"), 10), Asked::Unsatisfiable);
        assert_eq!(asked(Some("bytes=0-0"), 0), Asked::Unsatisfiable);
        for ignored in
            ["bytes=0-1,3-4", "bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=+1-2", "bytes="]
        {
            assert_eq!(asked(Some(ignored), 10), Asked::All, "{ignored}");
        }
    }

    #[test]
    fn content_ranges_of_a_chunk() {
        assert_eq!(content_range("0-9"), Some((0, 10)));
        assert_eq!(content_range("bytes 5-5/*"), Some((5, 1)));
        for bad in ["", "5", "5-", "9-5", "-5", "a-b", "0-18446744073709551615", "0--1"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
