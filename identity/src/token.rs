//! Join tokens: one word that lets a machine into the cluster in one role, and tells it which
//! cluster that is.
//!
//! `wharf-<role>-<SHA-256 of the authority's certificate>-<secret>-<check>`, the last three in
//! hexadecimal. The hash is what `sha256sum` says of the certificate in DER form. The check is there
//! to notice a token that was cut short when copied.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::keys::{KeyError, random};
use crate::role::Role;

const PREFIX: &str = "wharf";
const CHECK: usize = 4;

/// The SHA-256 of a cluster authority's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaHash(pub [u8; 32]);

impl CaHash {
    /// The hash of a certificate in DER form.
    pub fn of_der(der: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(hash)
    }
}

impl fmt::Display for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret part of a token. Printed on purpose only ([`TokenSecret::reveal`]), compared in
/// constant time only.
#[derive(Clone)]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// A new random secret.
    pub fn generate() -> Result<Self, KeyError> {
        random().map(Self)
    }

    /// The secret as text: what a join request carries, and what a controller keeps.
    pub fn reveal(&self) -> String {
        hex::encode(self.0)
    }

    /// Whether two secrets are the same, in a time that tells nothing about them.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for TokenSecret {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        decode(text).map(Self)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

/// A join token.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// The role that it lets in.
    pub role: Role,
    /// Which cluster it is for.
    pub ca_hash: CaHash,
    /// What proves to the cluster that its bearer may join.
    pub secret: TokenSecret,
}

impl JoinToken {
    fn check(&self) -> [u8; CHECK] {
        let mut content = self.role.as_str().as_bytes().to_vec();
        content.extend_from_slice(&self.ca_hash.0);
        content.extend_from_slice(&self.secret.0);
        let mut check = [0; CHECK];
        check.copy_from_slice(&digest(&SHA256, &content).as_ref()[..CHECK]);
        check
    }
}

/// The whole token, secret included: only for showing it to whoever asked for it.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, ca_hash, secret } = self;
        write!(f, "{PREFIX}-{role}-{ca_hash}-{}-{}", secret.reveal(), hex::encode(self.check()))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let mut parts = text.splitn(6, '-');
        if parts.next() != Some(PREFIX) {
            return Err(TokenError::NotAToken);
        }
        let role = parts.next().ok_or(TokenError::NotAToken)?;
        let role = role.parse().map_err(|_| TokenError::Role)?;
        let ca_hash = CaHash(decode(parts.next().ok_or(TokenError::Damaged)?)?);
        let secret = parts.next().ok_or(TokenError::Damaged)?.parse()?;
        let check: [u8; CHECK] = decode(parts.next().ok_or(TokenError::Damaged)?)?;
        let token = Self { role, ca_hash, secret };
        if parts.next().is_some() || token.check() != check {
            return Err(TokenError::Damaged);
        }
        Ok(token)
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], TokenError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| TokenError::Damaged)?;
    Ok(bytes)
}

/// Why a text is not a join token. None of them repeats the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else altogether.
    #[error("not a join token: one starts with wharf-; `wharf token show --role ROLE` prints it")]
    NotAToken,
    /// A role that does not exist.
    #[error("not a join token: wharf- is followed by controller, agent or registry")]
    Role,
    /// Cut short or changed on the way.
    #[error("the join token is cut short or damaged; copy it whole from `wharf token show --role ROLE`")]
    Damaged,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(role: Role) -> JoinToken {
        JoinToken { role, ca_hash: CaHash::of_der(b"ca"), secret: TokenSecret::generate().unwrap() }
    }

    #[test]
    fn a_token_reads_back_from_its_text() {
        for role in Role::ALL {
            let token = token(role);
            let back: JoinToken = format!(" {token}\n").parse().unwrap();
            assert_eq!((back.role, back.ca_hash), (role, token.ca_hash));
            assert!(back.secret.matches(&token.secret));
        }
    }

    #[test]
    fn every_shortened_or_changed_token_is_noticed() {
        let text = token(Role::Agent).to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<JoinToken>().is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert!(String::from_utf8(bytes).unwrap().parse::<JoinToken>().is_err(), "changed at {at}");
        }
        assert_eq!(format!("{text}-").parse::<JoinToken>().err(), Some(TokenError::Damaged));
        assert_eq!("SWMTKN-1-abc".parse::<JoinToken>().err(), Some(TokenError::NotAToken));
        assert_eq!("wharf-boss-00-00-00".parse::<JoinToken>().err(), Some(TokenError::Role));
    }

    #[test]
    fn debug_output_and_errors_hold_no_secret() {
        let token = token(Role::Agent);
        assert!(!format!("{token:?}").contains(&token.secret.reveal()));
        let damaged = token.secret.reveal()[1..].parse::<TokenSecret>().unwrap_err();
        assert!(!damaged.to_string().contains(&token.secret.reveal()[1..]));
    }
}
