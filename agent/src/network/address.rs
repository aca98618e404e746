//! Subnets, and the addresses of one: pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use thiserror::Error;

/// An IPv4 subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

/// The text is no subnet that containers could live in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a subnet for containers: write it as 10.1.2.0/24, with 8 to 29 bits")]
pub struct SubnetError(String);

impl Subnet {
    /// The subnet that an address with this prefix length lies in.
    pub fn of(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Subnet { network: address.to_bits() & mask, prefix }
    }

    /// How many bits name it.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address, which is the node's own.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network + 1)
    }

    /// The subnet's last address.
    fn last(self) -> u32 {
        self.network | u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0)
    }

    /// Whether two have an address in common.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.network <= other.last() && other.network <= self.last()
    }

    /// What the agent would choose, one after another: parts of a range that routers rarely have.
    pub fn candidates() -> impl Iterator<Item = Subnet> {
        (0..64u32).map(|n| Subnet { network: u32::from_be_bytes([10, 201, 0, 0]) + (n << 12), prefix: 20 })
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let wrong = || SubnetError(text.chars().take(50).collect());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=29).contains(&prefix) || address.is_loopback() || address.is_multicast() {
            return Err(wrong());
        }
        Ok(Subnet::of(address, prefix))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.network), self.prefix)
    }
}

/// The addresses of a subnet, handed out in turn, so that one that was just given back is not given out again at once.
#[derive(Debug)]
pub struct Pool {
    subnet: Subnet,
    used: BTreeSet<u32>,
    next: u32,
}

impl Pool {
    /// A pool of which these are taken.
    pub fn new(subnet: Subnet, used: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        let used: BTreeSet<u32> = used.into_iter().map(Ipv4Addr::to_bits).collect();
        let next = used.last().map_or(subnet.network + 2, |last| last + 1);
        Pool { subnet, used, next }
    }

    /// An address that nobody has.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        let (first, end) = (self.subnet.network + 2, self.subnet.last());
        let start = if (first..end).contains(&self.next) { self.next } else { first };
        let free = (start..end).chain(first..start).find(|address| !self.used.contains(address))?;
        self.used.insert(free);
        self.next = free + 1;
        Some(Ipv4Addr::from_bits(free))
    }

    /// Gives one back.
    pub fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.to_bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_pool_gives_every_address_once_and_then_none() {
        let mut pool = Pool::new(subnet("10.1.2.0/29"), ["10.1.2.3".parse().unwrap()]);
        let mut given: Vec<String> = std::iter::from_fn(|| pool.take()).map(|a| a.to_string()).collect();
        given.sort();
        assert_eq!(given, ["10.1.2.2", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
        pool.give_back("10.1.2.4".parse().unwrap());
        assert_eq!(pool.take(), "10.1.2.4".parse().ok());
    }

    #[test]
    fn an_address_given_back_is_not_the_next_one_given_out() {
        let mut pool = Pool::new(subnet("10.1.2.0/24"), []);
        let first = pool.take().unwrap();
        pool.give_back(first);
        assert_ne!(pool.take(), Some(first));
    }

    #[test]
    fn subnets_know_their_gateway_and_their_neighbours() {
        assert_eq!(subnet("10.1.2.9/24").to_string(), "10.1.2.0/24");
        assert_eq!(subnet("10.1.2.0/24").gateway().to_string(), "10.1.2.1");
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.1.2.0/24")));
        assert!(!subnet("10.1.2.0/24").overlaps(subnet("10.1.3.0/24")));
        let all: Vec<Subnet> = Subnet::candidates().collect();
        assert!(all.windows(2).all(|pair| !pair[0].overlaps(pair[1])));
        for wrong in ["", "10.1.2.0", "10.1.2.0/31", "10.1.2.0/x", "127.0.0.0/24", "300.0.0.0/24"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }
}
