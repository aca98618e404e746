//! The network: how long things take from machine to machine, which of them get lost or come twice, and who is cut off
//! from whom.

use super::{
    rng::Rng,
    time::{MILLI, Micros},
};
use bytes::Bytes;
use std::collections::BTreeMap;
use wharf_cluster::state::{Rejected, Reply};

/// A machine. Numbers count from 0 for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// One with a controller.
    Controller(usize),
    /// One with an agent.
    Node(usize),
    /// One with a client.
    Client(usize),
}

/// Something on its way, but for what agents and controllers say in sessions.
#[derive(Clone, Debug)]
pub enum Packet {
    /// Between replicas: raft's message.
    Raft(Bytes),
    /// Between replicas: a piece of a snapshot.
    Chunk {
        /// Which snapshot.
        transfer: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// Between replicas: a piece was taken, or refused.
    ChunkTaken {
        /// Which snapshot.
        transfer: u64,
        /// Whether it was taken.
        ok: bool,
    },
    /// A request.
    Call {
        /// The caller's number for it.
        number: u64,
        /// Passed on by another controller, and not to be passed on again.
        forwarded: bool,
        /// What is asked.
        call: Call,
    },
    /// What came of a request.
    Answer {
        /// The caller's number for it.
        number: u64,
        /// The answer.
        answer: Answer,
    },
}

/// What can be asked of controllers.
#[derive(Clone, Debug)]
pub enum Call {
    /// A command with its request id, encoded.
    Write(Bytes),
    /// The version of a stack, read linearizably from the controller that is asked.
    Read(String),
    /// Hand leadership over.
    Transfer(u64),
}

/// What controllers answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The command stands in the log, and this came of it.
    Done {
        /// Its place.
        index: u64,
        /// What it says.
        reply: Reply,
    },
    /// The command was refused.
    Rejected(Rejected),
    /// What was read.
    Value {
        /// The last entry that it reflects.
        index: u64,
        /// The stack's version; 0 if there is no such stack.
        version: u64,
    },
    /// Not here, or not now; try again.
    Unavailable,
    /// Too much is under way.
    Overloaded,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The usual time from one machine to another.
    pub delay: Micros,
    /// How often something takes much longer.
    pub spikes: f64,
    /// How much longer.
    pub spike: Micros,
    /// How often something is lost.
    pub loss: f64,
    /// How often something comes twice.
    pub twice: f64,
    /// Whether things may overtake one another.
    pub reorder: bool,
}

impl Weather {
    /// A network without faults.
    pub const FAIR: Weather =
        Weather { delay: MILLI, spikes: 0.0, spike: 0, loss: 0.0, twice: 0.0, reorder: false };
}

/// The network.
#[derive(Debug)]
pub struct Net {
    /// How bad it is now.
    pub weather: Weather,
    /// How many faults cut a way; it is open when there are none.
    cuts: BTreeMap<(Machine, Machine), u32>,
    /// When the last thing sent on a way arrives.
    latest: BTreeMap<(Machine, Machine), Micros>,
    /// How many were lost.
    pub lost: u64,
    /// How many came twice.
    pub repeated: u64,
}

impl Net {
    /// A network in which everybody reaches everybody.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Net { weather, cuts: BTreeMap::new(), latest: BTreeMap::new(), lost: 0, repeated: 0 }
    }

    /// Cuts a way, one way only.
    pub fn cut(&mut self, from: Machine, to: Machine) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    /// Takes a cut back.
    pub fn mend(&mut self, from: Machine, to: Machine) {
        if let Some(cuts) = self.cuts.get_mut(&(from, to)) {
            *cuts -= 1;
            if *cuts == 0 {
                self.cuts.remove(&(from, to));
            }
        }
    }

    /// Takes all cuts back.
    pub fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// Whether nothing gets through now.
    #[must_use]
    pub fn is_cut(&self, from: Machine, to: Machine) -> bool {
        self.cuts.contains_key(&(from, to))
    }

    /// How long something takes now.
    pub fn delay(&mut self, rng: &mut Rng) -> Micros {
        let weather = self.weather;
        let usual = weather.delay / 2 + rng.around(weather.delay / 2);
        if rng.chance(weather.spikes) { usual + rng.around(weather.spike) } else { usual }
    }

    /// When a packet that is sent now arrives: never, once, or more than once.
    pub fn arrivals(&mut self, rng: &mut Rng, now: Micros, from: Machine, to: Machine) -> Vec<Micros> {
        if self.is_cut(from, to) || rng.chance(self.weather.loss) {
            self.lost += 1;
            return Vec::new();
        }
        let copies = if rng.chance(self.weather.twice) { 2 } else { 1 };
        self.repeated += copies - 1;
        (0..copies)
            .map(|_| {
                let at = now + self.delay(rng);
                if self.weather.reorder {
                    return at;
                }
                let latest = self.latest.entry((from, to)).or_default();
                *latest = at.max(*latest);
                *latest
            })
            .collect()
    }
}
