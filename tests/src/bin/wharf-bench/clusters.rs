//! What the clusters under test on loopback have in common.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// A port that nothing listens on, outside the range that outgoing connections take theirs from: it has to stay free
/// while its program is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(61));
        let port = 10_000 + u16::try_from(next % 20_000).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Which members are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The leader only.
    Leader,
    /// All, with the same number of connections each.
    All,
}

impl To {
    /// The members that so many connections lead to, in a cluster of three.
    pub fn members(self, leader: usize, connections: usize) -> impl Iterator<Item = usize> {
        (0..connections).map(move |connection| match self {
            To::Leader => leader,
            To::All => connection % 3,
        })
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            To::Leader => "the leader",
            To::All => "all three",
        }
    }
}
