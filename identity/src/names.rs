//! The names and addresses that a server certificate may carry.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The domain of the fixed names; only a role gives the right to one of them.
const RESERVED: &str = "wharf.internal";

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A host name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl SubjectName {
    /// The name of a `host`, `host:port`, `address` or `[address]:port`.
    pub fn from_address(address: &str) -> Result<Self, SubjectNameError> {
        if let Ok(socket) = address.parse::<std::net::SocketAddr>() {
            return Ok(Self::Ip(socket.ip()));
        }
        match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host.parse(),
            _ => address.parse(),
        }
    }
}

impl FromStr for SubjectName {
    type Err = SubjectNameError;

    fn from_str(text: &str) -> Result<Self, SubjectNameError> {
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Self::Ip(ip));
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let malformed = || SubjectNameError::Malformed { name: text.chars().take(64).collect() };
        if rustls_pki_types::DnsName::try_from(name.as_str()).is_err() {
            return Err(malformed());
        }
        let reserved = name.strip_suffix(RESERVED).is_some_and(|head| head.is_empty() || head.ends_with('.'));
        if reserved { Err(SubjectNameError::Reserved { name }) } else { Ok(Self::Dns(name)) }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// Why a name can't stand in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectNameError {
    /// Neither a host name nor an address.
    #[error("{name:?} is neither a host name nor an IP address")]
    Malformed {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// One of the names by which parts of a cluster know each other.
    #[error("{name:?} can't be asked for: names under {RESERVED} belong to roles")]
    Reserved {
        /// The name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let dns = |name: &str| Ok(SubjectName::Dns(name.to_owned()));
        let ip = |ip: &str| Ok(SubjectName::Ip(ip.parse().unwrap()));
        assert_eq!("Registry.Example.org.".parse(), dns("registry.example.org"));
        assert_eq!("10.0.0.1".parse(), ip("10.0.0.1"));
        assert_eq!("[fd00::1]".parse(), ip("fd00::1"));
        assert_eq!(SubjectName::from_address("10.0.0.1:5000"), ip("10.0.0.1"));
        assert_eq!(SubjectName::from_address("[fd00::1]:5000"), ip("fd00::1"));
        assert_eq!(SubjectName::from_address("fd00::1"), ip("fd00::1"));
        assert_eq!(SubjectName::from_address("reg:5000"), dns("reg"));
        assert_eq!(SubjectName::from_address("reg"), dns("reg"));
        for bad in ["", "a b", "a_b!", "*.example.org", "reg:port", &"x".repeat(300)] {
            assert!(matches!(bad.parse::<SubjectName>(), Err(SubjectNameError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_role_s_name_can_t_be_asked_for() {
        for name in ["controller.wharf.internal", "Controller.Wharf.Internal.", "wharf.internal"] {
            assert!(matches!(name.parse::<SubjectName>(), Err(SubjectNameError::Reserved { .. })), "{name}");
        }
        assert!("notwharf.internal".parse::<SubjectName>().is_ok());
    }
}
