//! Reaching any one of a cluster's controllers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::credentials::CredentialsCell;
use crate::dial::{DialError, connect};

/// How long one controller may take before the next is tried as well: a machine that is gone answers
/// with silence.
const HEAD_START: Duration = Duration::from_millis(500);

/// A channel, and where it leads.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The controller's address.
    pub address: String,
    /// A connected channel to it.
    pub channel: Channel,
}

/// Connects to whichever of several controllers answers, beginning with the one that did last.
/// Clones share what they learn.
#[derive(Debug, Clone)]
pub struct Dialer {
    cell: CredentialsCell,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<String>,
    preferred: usize,
}

impl Dialer {
    /// A dialer of these controllers.
    pub fn new(addresses: Vec<String>, cell: CredentialsCell) -> Self {
        Self { cell, known: Arc::new(Mutex::new(Known { addresses, preferred: 0 })) }
    }

    /// The controllers, the one to be tried first in front.
    pub fn addresses(&self) -> Vec<String> {
        self.known.lock().in_order()
    }

    /// Replaces the list of controllers; the preferred one stays so if it is still listed.
    pub fn set_addresses(&self, addresses: Vec<String>) {
        self.known.lock().replace(addresses);
    }

    /// Makes the next connection begin with another controller: this one can be reached, but is of
    /// no use now.
    pub fn demote(&self, address: &str) {
        self.known.lock().demote(address);
    }

    /// Makes the next connection begin with this controller, which is added if it is not listed.
    pub fn prefer(&self, address: &str) {
        self.known.lock().prefer(address);
    }

    /// Connects to the first controller that answers. Each is given a head start before the next is
    /// tried too.
    pub async fn connect(&self) -> Result<Connected, DialError> {
        let mut waiting = self.addresses().into_iter();
        let mut trying = JoinSet::new();
        let mut attempts = Vec::new();
        loop {
            let next = waiting.next();
            let more = next.is_some();
            if let Some(address) = next {
                let cell = self.cell.clone();
                trying.spawn(async move {
                    let channel = connect(&address, &cell).await?;
                    Ok(Connected { address, channel })
                });
            }
            // Until the next one's turn, or, with nobody left to try, until all have failed.
            let head_start = tokio::time::sleep(HEAD_START);
            tokio::pin!(head_start);
            loop {
                tokio::select! {
                    ended = trying.join_next() => match ended {
                        None if more => break,
                        None => return Err(sum_up(attempts)),
                        Some(Ok(Ok(connected))) => {
                            self.prefer(&connected.address);
                            return Ok(connected);
                        }
                        Some(Ok(Err(error))) => attempts.push(error),
                        Some(Err(panic)) => attempts.push(DialError::Setup { reason: panic.to_string() }),
                    },
                    () = &mut head_start, if more => break,
                }
            }
        }
    }
}

/// One error for all attempts. Causes that lie at our end are the same for each: told once.
fn sum_up(mut attempts: Vec<DialError>) -> DialError {
    attempts.dedup();
    match attempts.len() {
        0 => DialError::NoAddress,
        1 => attempts.remove(0),
        _ => DialError::All { attempts },
    }
}

impl Known {
    fn in_order(&self) -> Vec<String> {
        let (before, from) = self.addresses.split_at(self.preferred.min(self.addresses.len()));
        from.iter().chain(before).cloned().collect()
    }

    fn position(&self, address: &str) -> Option<usize> {
        self.addresses.iter().position(|known| known == address)
    }

    fn replace(&mut self, addresses: Vec<String>) {
        let preferred = self.addresses.get(self.preferred).cloned();
        self.addresses = addresses;
        self.preferred = preferred.and_then(|address| self.position(&address)).unwrap_or(0);
    }

    fn demote(&mut self, address: &str) {
        if self.position(address) == Some(self.preferred) {
            self.preferred = (self.preferred + 1) % self.addresses.len();
        }
    }

    fn prefer(&mut self, address: &str) {
        self.preferred = self.position(address).unwrap_or_else(|| {
            self.addresses.push(address.to_owned());
            self.addresses.len() - 1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(addresses: &[&str]) -> Known {
        Known { addresses: addresses.iter().map(ToString::to_string).collect(), preferred: 0 }
    }

    #[test]
    fn the_last_good_one_comes_first_and_the_others_in_turn() {
        let mut known = known(&["a", "b", "c"]);
        known.prefer("b");
        assert_eq!(known.in_order(), ["b", "c", "a"]);
        known.demote("a");
        assert_eq!(known.in_order(), ["b", "c", "a"]);
        known.demote("b");
        known.demote("c");
        assert_eq!(known.in_order(), ["a", "b", "c"]);
        known.prefer("d");
        assert_eq!(known.in_order(), ["d", "a", "b", "c"]);
    }

    #[test]
    fn a_new_list_keeps_the_preferred_one_if_it_can() {
        let mut known = known(&["a", "b", "c"]);
        known.prefer("c");
        known.replace(vec!["x".into(), "c".into()]);
        assert_eq!(known.in_order(), ["c", "x"]);
        known.replace(vec!["y".into(), "z".into()]);
        assert_eq!(known.in_order(), ["y", "z"]);
        known.replace(Vec::new());
        known.demote("y");
        assert!(known.in_order().is_empty());
    }
}
