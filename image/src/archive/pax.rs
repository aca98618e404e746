//! PAX extended headers: `LENGTH KEY=VALUE\n` records, whose values may be any bytes.

use crate::archive::Segment;
use crate::archive::sparse::PaxSparse;

/// What we use of one PAX header.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: PaxSparse,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Pax {
    pub(super) fn parse(mut rest: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax::default();
        while !rest.is_empty() {
            let (key, value, tail) = record(rest).ok_or("a PAX header is malformed")?;
            rest = tail;
            pax.take(key, value)?;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = Some(time(value).ok_or("a PAX header has a bad mtime")?),
            b"GNU.sparse.name" => self.sparse.name = text(value)?,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = number(value)?,
            b"GNU.sparse.major" => self.sparse.major = number(value)?,
            b"GNU.sparse.minor" => self.sparse.minor = number(value)?,
            b"GNU.sparse.offset" => {
                let offset = number(value)?.ok_or("a PAX header has an empty sparse offset")?;
                self.sparse.map.push(Segment { offset, length: 0 });
            }
            b"GNU.sparse.numbytes" => {
                let last =
                    self.sparse.map.last_mut().ok_or("a PAX header has a sparse length without an offset")?;
                last.length = number(value)?.ok_or("a PAX header has an empty sparse length")?;
            }
            b"GNU.sparse.map" => self.sparse.map = sparse_map(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits the first record off: its key, its value, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, tail) = bytes.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], tail))
}

/// A name; an empty value takes back what a global header said.
fn text(value: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if value.contains(&0) {
        return Err("a PAX header has a name with a NUL byte".into());
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn number(value: &[u8]) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let digits = std::str::from_utf8(value).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|d| d.parse().ok()).map(Some).ok_or_else(|| "a PAX header has a bad number".into())
}

/// Decimal seconds with a fraction, possibly before 1970.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    // -1.25 is 1.25 s before 1970: the kernel counts nanoseconds forward from the whole second below.
    if whole.starts_with('-') && nanos > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

/// `offset,length,offset,length,...`
fn sparse_map(value: &[u8]) -> Result<Vec<Segment>, String> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<u64> = value
        .split(|b| *b == b',')
        .map(|n| number(n)?.ok_or_else(|| "a PAX header has a bad sparse map".to_owned()))
        .collect::<Result<_, _>>()?;
    let (pairs, odd) = numbers.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("a PAX header has a bad sparse map".into());
    }
    Ok(pairs.iter().map(|&[offset, length]| Segment { offset, length }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(key: &str, value: &[u8]) -> Vec<u8> {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let length = (1..).find(|n| n - n.to_string().len() == body.len()).unwrap();
        [length.to_string().as_bytes(), &body].concat()
    }

    #[test]
    fn reads_records_with_any_bytes_in_values() {
        let value = b"\x01\0\0\x02\n12 path=/x\n=\xff";
        let header = [encode("path", b"a/b"), encode("SCHILY.xattr.security.capability", value)].concat();
        let pax = Pax::parse(&header).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), value.to_vec())]);
    }

    #[test]
    fn reads_times() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12.1234567891"), Some((12, 123_456_789)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"soon"), None);
    }

    #[test]
    fn refuses_malformed_records() {
        for bad in [&b"x"[..], b"5 a=b", b"99 a=b\n", b"0 ", b"3 =\n", b"18446744073709551615 a=b\n"] {
            let _ = Pax::parse(bad);
        }
        assert!(Pax::parse(b"99 a=b\n").is_err());
        assert!(Pax::parse(&encode("size", b"12x")).is_err());
        assert!(Pax::parse(&encode("path", b"a\0b")).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::parse(&bytes);
        }
    }
}
