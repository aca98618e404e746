//! Identifiers. The state machine counts them, so they need no randomness; people see them in base 36.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an id: ids have 1 to 13 digits and lowercase letters")]
pub struct InvalidId(String);

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn to_base36(mut value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0u8; 13];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = DIGITS[(value % 36) as usize];
        value /= 36;
        if value == 0 {
            break;
        }
    }
    f.pad(std::str::from_utf8(&text[at..]).unwrap_or_default())
}

fn from_base36(text: &str) -> Result<u64, InvalidId> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    match u64::from_str_radix(text, 36) {
        Ok(value) if lower => Ok(value),
        _ => Err(InvalidId(text.chars().take(32).collect())),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                to_base36(self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                from_base36(text).map($name)
            }
        }
    };
}

id!(
    /// A machine that runs an agent.
    NodeId
);
id!(
    /// A service.
    ServiceId
);
id!(
    /// One attempt to run a service's container.
    TaskId
);
id!(
    /// A controller; also its Raft id.
    ControllerId
);

/// Names one request of a client across retries, so that a write retried after a broken connection happens once.
/// The client makes it at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u128);

/// A point in time: milliseconds since the Unix epoch, as the leader's clock said when it proposed the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time, `millis` later.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Timestamp(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; 0 if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        for value in [0, 1, 35, 36, 1 << 40, u64::MAX] {
            assert_eq!(NodeId(value).to_string().parse(), Ok(NodeId(value)));
        }
        assert!("".parse::<TaskId>().is_err());
        assert!("AB".parse::<TaskId>().is_err());
        assert!("+1".parse::<TaskId>().is_err());
        assert!("zzzzzzzzzzzzzzzz".parse::<TaskId>().is_err());
    }
}
