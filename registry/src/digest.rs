//! Content digests: parsing them from untrusted text and computing them over streamed bytes.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// The hash functions that the distribution specification registers and this registry accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the one nearly every client uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The algorithm's name in a digest.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// There is no `algorithm:` in front.
    #[error("a digest has the form sha256:HEX or sha512:HEX")]
    Form,
    /// The algorithm is not one that this registry knows.
    #[error("unknown digest algorithm: use sha256 or sha512")]
    Algorithm,
    /// The encoded part is too long, too short or not lower-case hexadecimal.
    #[error("the hexadecimal part of a {} digest has {} lower-case digits", .0.as_str(), .0.hex_len())]
    Encoded(Algorithm),
}

/// A checked digest, for example `sha256:e3b0...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash function it was made with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The encoded part, without the algorithm.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm),
        };
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(lower_hex) {
            return Err(DigestError::Encoded(algorithm));
        }
        Ok(Digest { algorithm, hex: hex.to_owned() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

/// Computes a digest over bytes that come piece by piece.
pub struct Hasher(State);

enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// An empty hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => {
                Digest { algorithm: Algorithm::Sha256, hex: hex::encode(state.finalize()) }
            }
            State::Sha512(state) => {
                Digest { algorithm: Algorithm::Sha512, hex: hex::encode(state.finalize()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn computes_and_prints_known_digests() {
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
        let long = Digest::of(Algorithm::Sha512, b"wharf");
        assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        assert_eq!("".parse::<Digest>(), Err(DigestError::Form));
        assert_eq!("md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>(), Err(DigestError::Algorithm));
        let encoded = Err(DigestError::Encoded(Algorithm::Sha256));
        assert_eq!("sha256:".parse::<Digest>(), encoded);
        assert_eq!(EMPTY.to_uppercase().replace("SHA256", "sha256").parse::<Digest>(), encoded);
        assert_eq!(format!("{EMPTY}0").parse::<Digest>(), encoded);
        assert_eq!(EMPTY.replace("e3b0", "../.").parse::<Digest>(), encoded);
    }
}
