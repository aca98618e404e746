//! Agents' sessions on the network: two lanes on which everything arrives in order or not at all. What can't get through
//! waits, and is sent again once it can, until one end gives up: so an agent may hear late what a controller said long ago.

use super::time::{MILLI, Micros, SECOND};
use std::collections::VecDeque;
use wharf_cluster::ids::NodeId;

/// The two directions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// From the agent to the controller.
    Up,
    /// From the controller to the agent.
    Down,
}

/// What is said on a lane.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// An encoded message.
    Message(Vec<u8>),
    /// Nothing follows.
    End(Ending),
}

/// How a stream ended, as far as its other end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All is said.
    Closed,
    /// The node is no longer one of the cluster's.
    Removed,
    /// The connection broke.
    Broken,
}

/// One lane.
#[derive(Debug, Default)]
pub struct Way {
    /// When the last frame sent arrives.
    pub latest: Micros,
    /// What waits for the way to be open.
    pub stalled: VecDeque<Frame>,
    /// Since when.
    pub since: Micros,
}

/// A session's stream.
#[derive(Debug)]
pub struct Stream {
    /// The agent's machine.
    pub node: usize,
    /// The node that its certificate names.
    pub identity: NodeId,
    /// The controller's machine.
    pub controller: usize,
    /// Which run of the agent opened it.
    pub node_life: u64,
    /// Which run of the controller took it; none has yet.
    pub controller_life: Option<u64>,
    /// The agent listens.
    pub node_open: bool,
    /// The controller listens, or will.
    pub controller_open: bool,
    /// From the agent.
    pub up: Way,
    /// From the controller.
    pub down: Way,
    /// How long something may wait before the connection is given up.
    pub patience: Micros,
}

/// Time between two attempts at a stalled lane.
pub const RETRY: Micros = 200 * MILLI;
/// The least and most time before a stalled connection is given up.
pub const PATIENCE: std::ops::RangeInclusive<Micros> = 2 * SECOND..=20 * SECOND;

impl Stream {
    /// One of the lanes.
    pub fn way(&mut self, lane: Lane) -> &mut Way {
        match lane {
            Lane::Up => &mut self.up,
            Lane::Down => &mut self.down,
        }
    }
}
