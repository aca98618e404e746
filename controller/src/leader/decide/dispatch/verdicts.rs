//! When silence becomes a verdict: after several missed heartbeats, a few nodes at a time, not when many vanish at once,
//! and never because the controller itself was not there to listen.

use super::{
    brake::{Brake, Outcome},
    liveness::Liveness,
};
use std::time::Duration;
use wharf_cluster::{
    ids::NodeId,
    planted::{self, Bug},
};

/// Nodes that are given up within [`PAUSE`], or a tenth of all if that is more.
const MOST: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// Nodes that are declared unknown by one proposal.
const BATCH: usize = 1000;

/// What holds for verdicts at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) now: Duration,
    pub(super) heartbeat: Duration,
    pub(super) ttl: Duration,
    /// Nodes that nobody has declared down.
    pub(super) there: usize,
}

/// What is to be declared of silent nodes, and for how long each has been silent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Silent {
    /// They are lost.
    pub(super) down: Vec<(NodeId, Duration)>,
    /// They vanished with many others: no verdict.
    pub(super) unknown: Vec<(NodeId, Duration)>,
}

/// The verdicts of one leadership.
#[derive(Debug)]
pub(super) struct Verdicts {
    liveness: Liveness,
    brake: Brake,
    /// When the nodes were last looked at.
    looked: Duration,
    /// Before this, no more nodes are given up.
    not_before: Duration,
}

impl Verdicts {
    pub(super) fn new(now: Duration, hold: Duration) -> Self {
        Verdicts { liveness: Liveness::default(), brake: Brake::new(hold), looked: now, not_before: now }
    }

    /// A node is there, and may be silent for `patience`. Whether it was missing because the brake had held it.
    pub(super) fn heard(&mut self, node: NodeId, now: Duration, patience: Duration) -> bool {
        self.liveness.heard(node, now, now + patience);
        self.brake.release(node, now)
    }

    /// A node is no longer expected to say anything.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.liveness.forget(node);
        self.brake.release(node, self.looked);
    }

    /// Whether a node has said something in the last two heartbeats before `now`.
    pub(super) fn is_answering(&self, node: NodeId, now: Duration, heartbeat: Duration) -> bool {
        self.liveness.last(node).is_some_and(|at| at + 2 * heartbeat > now)
    }

    /// The same, when the nodes were last looked at.
    pub(super) fn was_answering(&self, node: NodeId, heartbeat: Duration) -> bool {
        self.is_answering(node, self.looked, heartbeat)
    }

    /// Whether a node was held by the brake, and has not been heard of since.
    pub(super) fn misses(&self, node: NodeId) -> bool {
        self.brake.misses(node)
    }

    /// When the nodes are to be looked at next, whatever happens: a look that comes late tells that the controller was
    /// not there.
    pub(super) fn next_look(&self, heartbeat: Duration) -> Duration {
        self.looked + heartbeat / 2
    }

    /// Whether [`Verdicts::judge`] may have something to say.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.not_before
            && (self.brake.count() > 0 || self.liveness.next().is_some_and(|next| next <= now))
    }

    /// When the next verdict is due, if nothing is heard before.
    pub(super) fn next(&self) -> Option<Duration> {
        self.liveness.next().map(|next| next.max(self.not_before))
    }

    /// Notes a look. If it comes late by more than a heartbeat, this controller was stopped or overloaded: nodes may
    /// have spoken and not been heard, and are given their full time again.
    pub(super) fn look(&mut self, now: Duration, heartbeat: Duration, ttl: Duration) {
        let late = now.saturating_sub(self.next_look(heartbeat));
        self.looked = now;
        if late > heartbeat {
            tracing::warn!(
                late_s = late.as_secs_f64(),
                "this controller did not come to look after the nodes in time: it was stopped, or is overloaded; \
                 silent nodes get their full time again"
            );
            self.liveness.grace(now + ttl);
            self.brake.extend(now);
        }
    }

    /// What is to be declared now. Nodes that are lost are not expected to say anything any more.
    pub(super) fn judge(&mut self, terms: Terms) -> Silent {
        let most = MOST.max(terms.there / 10);
        let mut silent = Silent::default();
        // Of those that vanished together, not all missed their last heartbeat at the same moment.
        let soon = terms.now + (2 * terms.heartbeat).min(terms.ttl / 2);
        let vanishing = self.liveness.expired(soon).count();
        let is_mass =
            !planted::is(Bug::NoGrace) && self.brake.is_mass(vanishing, terms.there, terms.now, terms.ttl);
        match self.brake.look(is_mass, terms.now, most) {
            Outcome::Same => {}
            Outcome::Few(nodes) => {
                tracing::info!(
                    silent = nodes.len(),
                    "so many nodes are back that silent ones are given up again"
                );
                for (node, heard) in nodes {
                    self.liveness.heard(node, heard, terms.now + terms.ttl);
                }
            }
            Outcome::Settled(nodes) => {
                tracing::warn!(
                    nodes = nodes.len(),
                    "nodes that vanished together have not come back: they are given up"
                );
                let silence = |heard| terms.now.saturating_sub(heard);
                silent.down.extend(nodes.into_iter().map(|(node, heard)| (node, silence(heard))));
            }
        }
        if self.liveness.next().is_some_and(|next| next <= terms.now) {
            if is_mass || self.brake.is_on() {
                if !self.brake.is_on() {
                    tracing::warn!(
                        silent = vanishing,
                        nodes = terms.there,
                        "many nodes vanished at once: none is given up and no work is moved until they come back, \
                         nothing changes any more, or people say which are lost (wharf node down NODE)"
                    );
                }
                self.hold(terms, &mut silent);
            } else {
                self.give_up(terms, most, &mut silent);
            }
        }
        if !silent.down.is_empty() {
            self.not_before = terms.now + PAUSE;
        }
        silent
    }

    fn hold(&mut self, terms: Terms, silent: &mut Silent) {
        let nodes: Vec<NodeId> = self.liveness.expired(terms.now).take(BATCH).collect();
        for node in nodes {
            let heard = self.liveness.forget(node).unwrap_or(terms.now);
            self.brake.hold(node, heard, terms.now);
            silent.unknown.push((node, terms.now.saturating_sub(heard)));
        }
    }

    fn give_up(&mut self, terms: Terms, most: usize, silent: &mut Silent) {
        let nodes: Vec<NodeId> = self.liveness.expired(terms.now).take(most).collect();
        for node in nodes {
            let heard = self.liveness.forget(node).unwrap_or(terms.now);
            self.brake.lost(node, heard + terms.ttl);
            silent.down.push((node, terms.now.saturating_sub(heard)));
        }
    }

    /// How many nodes the brake holds.
    pub(super) fn held(&self) -> usize {
        self.brake.count()
    }
}
