//! Content digests: parsing them, and computing them while bytes stream by.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use thiserror::Error;

/// A content digest: `sha256:<64 hex>` or `sha512:<128 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// The algorithm that everything uses.
    Sha256([u8; 32]),
    /// Registered by the OCI image spec as well, seldom seen.
    Sha512([u8; 64]),
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    /// No `algorithm:` in front.
    #[error("a digest looks like sha256:<64 hex digits>, this has no algorithm")]
    NoAlgorithm,
    /// An algorithm that isn't one of ours.
    #[error("digest algorithm {0:?} is not supported, only sha256 and sha512 are")]
    UnknownAlgorithm(String),
    /// Wrong length, or something other than lower-case hex digits.
    #[error("a {algorithm} digest has {expected} lower-case hex digits")]
    BadEncoding {
        /// The algorithm that was named.
        algorithm: &'static str,
        /// How many digits it has.
        expected: usize,
    },
}

/// Bytes that are not the ones that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("digest mismatch: expected {expected}, the data has {actual}")]
pub struct Mismatch {
    /// What was asked for.
    pub expected: Digest,
    /// What came.
    pub actual: Digest,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest::Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Digest::Sha256(_) => "sha256",
            Digest::Sha512(_) => "sha512",
        }
    }

    /// The hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.bytes())
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.bytes()[..6])
    }

    /// A hasher for this digest's algorithm.
    pub fn hasher(&self) -> Hasher {
        match self {
            Digest::Sha256(_) => Hasher::Sha256(sha2::Sha256::new()),
            Digest::Sha512(_) => Hasher::Sha512(Box::new(sha2::Sha512::new())),
        }
    }

    /// Whether `bytes` have this digest, and which they have if not.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Box<Mismatch>> {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        self.expect(hasher.finish())
    }

    /// Whether `actual` is this digest.
    pub fn expect(&self, actual: Digest) -> Result<(), Box<Mismatch>> {
        if *self == actual { Ok(()) } else { Err(Box::new(Mismatch { expected: *self, actual })) }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Digest::Sha256(bytes) => bytes,
            Digest::Sha512(bytes) => bytes,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::NoAlgorithm)?;
        match algorithm {
            "sha256" => decode(digits).map(Digest::Sha256).ok_or(bad("sha256", 64)),
            "sha512" => decode(digits).map(Digest::Sha512).ok_or(bad("sha512", 128)),
            other => Err(DigestError::UnknownAlgorithm(other.chars().take(32).collect())),
        }
    }
}

fn bad(algorithm: &'static str, expected: usize) -> DigestError {
    DigestError::BadEncoding { algorithm, expected }
}

fn decode<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(digits, &mut out).ok()?;
    Some(out)
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub enum Hasher {
    /// For [`Digest::Sha256`].
    Sha256(sha2::Sha256),
    /// For [`Digest::Sha512`].
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// A SHA-256 hasher.
    pub fn sha256() -> Self {
        Hasher::Sha256(sha2::Sha256::new())
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Hasher::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

/// Hashes and counts the bytes that pass through it, as a writer or a reader.
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    count: u64,
}

impl<T> Hashing<T> {
    /// Wraps `inner`.
    pub fn new(inner: T, hasher: Hasher) -> Self {
        Hashing { inner, hasher, count: 0 }
    }

    /// How many bytes have passed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What was wrapped, the digest of all bytes that passed, and their number.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: io::Read> io::Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parses_and_prints_both_algorithms() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let long = format!("sha512:{}", "0a".repeat(64));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        assert_eq!("abc".parse::<Digest>(), Err(DigestError::NoAlgorithm));
        assert!(matches!("md5:00".parse::<Digest>(), Err(DigestError::UnknownAlgorithm(_))));
        for bad in
            ["sha256:", "sha256:zz", "sha256:../../etc/passwd", &EMPTY.to_uppercase().replace("SHA", "sha")]
        {
            assert!(matches!(bad.parse::<Digest>(), Err(DigestError::BadEncoding { .. })), "{bad}");
        }
    }

    #[test]
    fn hashes_while_writing() {
        let mut writer = Hashing::new(Vec::new(), Hasher::sha256());
        writer.write_all(b"hello ").unwrap();
        writer.write_all(b"world").unwrap();
        let (out, digest, count) = writer.finish();
        assert_eq!((digest, count), (Digest::of(&out), 11));
    }
}
