//! The brake on mass loss: when a large part of the nodes vanishes at once, it is rather the network, the power or this
//! controller that failed than each of them. Then nobody is given up and no work moves, until people say that nodes are
//! lost, nodes come back, or nothing has changed for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use wharf_cluster::ids::NodeId;

/// However often nodes come and go, all is settled after this many times the time that it may take.
const LONGEST: u32 = 5;

/// Counts who vanishes, and holds those who vanished together.
#[derive(Debug)]
pub(super) struct Brake {
    /// For how long nothing must have changed.
    hold: Duration,
    /// Nodes that were given up in the period that ends now, and when their time was up.
    lost: BTreeMap<NodeId, Duration>,
    held: Option<Held>,
    /// Nodes that were held and have not been heard of since, whether they still are or not.
    missing: BTreeSet<NodeId>,
}

/// Nodes that vanished together.
#[derive(Debug)]
struct Held {
    /// The nodes, and when each was heard of last.
    nodes: BTreeMap<NodeId, Duration>,
    since: Duration,
    /// When the last node came or went.
    changed: Duration,
    /// They are given up now.
    is_settled: bool,
}

/// How it goes on with those that are held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// They stay held, or none is.
    Same,
    /// So few are left that it is no mass loss any more: they get their time again, and verdicts follow as always.
    /// With when they were heard of last.
    Few(Vec<(NodeId, Duration)>),
    /// Nothing has changed for long enough: these are the first to be given up, with when they were heard of last.
    Settled(Vec<(NodeId, Duration)>),
}

impl Brake {
    pub(super) fn new(hold: Duration) -> Self {
        Brake { hold, lost: BTreeMap::new(), held: None, missing: BTreeSet::new() }
    }

    /// Whether nodes that vanish are held.
    pub(super) fn is_on(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_settled)
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.nodes.len())
    }

    /// Whether a node was held and has not been heard of since.
    pub(super) fn misses(&self, node: NodeId) -> bool {
        self.missing.contains(&node)
    }

    /// Whether too many have vanished: `silent` of `there`, beside those that are held, and those that were given up
    /// within the last `period`.
    pub(super) fn is_mass(&mut self, silent: usize, there: usize, now: Duration, period: Duration) -> bool {
        self.lost.retain(|_, at| *at + period >= now);
        let lost = self.lost.len();
        let held = if self.is_on() { self.count() } else { 0 };
        is_mass(silent + held + lost, there + lost)
    }

    /// A node is given up, whose time was up at `at`.
    pub(super) fn lost(&mut self, node: NodeId, at: Duration) {
        self.lost.insert(node, at);
        self.missing.remove(&node);
    }

    /// Holds a node that was heard of last at `heard`.
    pub(super) fn hold(&mut self, node: NodeId, heard: Duration, now: Duration) {
        let held = self.held.get_or_insert(Held {
            nodes: BTreeMap::new(),
            since: now,
            changed: now,
            is_settled: false,
        });
        held.nodes.insert(node, heard);
        self.missing.insert(node);
        held.changed = now;
        held.is_settled = false;
    }

    /// A node is there again, or people said that it is lost. Whether it was missing.
    pub(super) fn release(&mut self, node: NodeId, now: Duration) -> bool {
        self.lost.remove(&node);
        if let Some(held) = &mut self.held
            && held.nodes.remove(&node).is_some()
        {
            held.changed = now;
        }
        self.missing.remove(&node)
    }

    /// This controller was not there to listen: it can't tell that nothing has changed.
    pub(super) fn extend(&mut self, now: Duration) {
        if let Some(held) = &mut self.held {
            held.since = now;
            held.changed = now;
            held.is_settled = false;
        }
    }

    /// How it goes on; at most `most` are given up now.
    pub(super) fn look(&mut self, is_mass: bool, now: Duration, most: usize) -> Outcome {
        let Some(held) = &mut self.held else { return Outcome::Same };
        if held.nodes.is_empty() {
            self.held = None;
            return Outcome::Few(Vec::new());
        }
        let settled = now >= held.changed + self.hold || now >= held.since + self.hold * LONGEST;
        if held.is_settled || settled {
            held.is_settled = true;
            let first: Vec<_> = held.nodes.iter().take(most).map(|(node, heard)| (*node, *heard)).collect();
            for (node, _) in &first {
                held.nodes.remove(node);
                self.missing.remove(node);
            }
            if held.nodes.is_empty() {
                self.held = None;
            }
            return Outcome::Settled(first);
        }
        if is_mass {
            return Outcome::Same;
        }
        let few = std::mem::take(&mut held.nodes);
        self.held = None;
        Outcome::Few(few.into_iter().collect())
    }
}

/// More than a third, and more than one: a single node's loss is an everyday thing, of two nodes too.
fn is_mass(silent: usize, there: usize) -> bool {
    silent >= 2 && silent * 3 > there
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_node_is_no_mass_and_more_than_a_third_are() {
        assert!(!is_mass(1, 1) && !is_mass(1, 2) && !is_mass(2, 6) && is_mass(2, 5) && is_mass(2, 2));
        let mut brake = Brake::new(HOLD);
        assert!(!brake.is_mass(1, 4, at(10), at(5)));
        brake.lost(NodeId(1), at(10));
        // One after the other within a period is as good as together; later it isn't.
        assert!(brake.is_mass(1, 3, at(14), at(5)));
        assert!(!brake.is_mass(1, 3, at(16), at(5)));
    }

    #[test]
    fn those_that_are_held_are_given_up_when_nothing_changes_any_more() {
        let mut brake = Brake::new(HOLD);
        for node in 1..=3 {
            brake.hold(NodeId(node), at(1), at(10));
        }
        assert!(brake.is_on() && brake.misses(NodeId(3)) && brake.count() == 3);
        assert_eq!(brake.look(true, at(109), 2), Outcome::Same);
        brake.extend(at(50));
        assert_eq!(brake.look(true, at(149), 2), Outcome::Same);
        assert_eq!(
            brake.look(true, at(150), 2),
            Outcome::Settled(vec![(NodeId(1), at(1)), (NodeId(2), at(1))])
        );
        assert!(!brake.is_on() && brake.misses(NodeId(3)));
        assert_eq!(brake.look(true, at(151), 2), Outcome::Settled(vec![(NodeId(3), at(1))]));
        assert_eq!(brake.look(false, at(152), 2), Outcome::Same);
    }

    #[test]
    fn nodes_that_come_back_let_the_rest_go() {
        let mut brake = Brake::new(HOLD);
        for node in 1..=3 {
            brake.hold(NodeId(node), at(1), at(10));
        }
        assert!(brake.release(NodeId(2), at(20)) && !brake.release(NodeId(2), at(20)));
        assert_eq!(brake.look(true, at(20), 9), Outcome::Same);
        assert!(brake.is_mass(0, 5, at(20), at(5)));
        assert!(brake.release(NodeId(3), at(30)));
        assert!(!brake.is_mass(0, 5, at(30), at(5)));
        assert_eq!(brake.look(false, at(30), 9), Outcome::Few(vec![(NodeId(1), at(1))]));
        assert!(!brake.is_on());
        // It has been declared unknown, and is to be declared ready when it is heard of.
        assert!(brake.misses(NodeId(1)) && brake.release(NodeId(1), at(31)));
    }

    #[test]
    fn a_node_that_comes_and_goes_does_not_hold_the_others_for_ever() {
        let mut brake = Brake::new(HOLD);
        brake.hold(NodeId(1), at(0), at(0));
        brake.hold(NodeId(2), at(0), at(0));
        let mut now = 0;
        while brake.look(true, at(now), 9) == Outcome::Same {
            now += 50;
            brake.release(NodeId(3), at(now));
            brake.hold(NodeId(3), at(now), at(now));
            assert!(now < 1000);
        }
        assert_eq!(now, 500);
    }
}
