//! When silence becomes a verdict: after several missed heartbeats, a few nodes at a time, and never because the
//! controller itself was not there to listen.

use super::liveness::Liveness;
use std::time::Duration;
use wharf_cluster::ids::NodeId;

/// Nodes that are given up within [`PAUSE`], or a tenth of all if that is more.
const MOST: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// The verdicts of one leadership.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// When the nodes were last looked at.
    looked: Duration,
    /// Before this, no more nodes are given up.
    not_before: Duration,
}

impl Verdicts {
    pub(super) fn new(now: Duration) -> Self {
        Verdicts { looked: now, not_before: now }
    }

    /// When the nodes are to be looked at next, whatever happens: a look that comes late tells that the controller was
    /// not there.
    pub(super) fn next_look(&self, heartbeat: Duration) -> Duration {
        self.looked + heartbeat / 2
    }

    /// Notes a look. If it comes late by more than a heartbeat, this controller was stopped or overloaded: nodes may
    /// have spoken and not been heard, and are given their full time again.
    pub(super) fn look(
        &mut self,
        liveness: &mut Liveness,
        now: Duration,
        heartbeat: Duration,
        ttl: Duration,
    ) {
        let late = now.saturating_sub(self.next_look(heartbeat));
        self.looked = now;
        if late > heartbeat {
            tracing::warn!(
                late_s = late.as_secs_f64(),
                "this controller did not come to look after the nodes in time: it is stopped at times, or overloaded; \
                 silent nodes get their full time again"
            );
            liveness.grace(now + ttl);
        }
    }

    /// When the next verdict is due, if nothing is heard before.
    pub(super) fn next(&self, liveness: &Liveness) -> Option<Duration> {
        liveness.next().map(|next| next.max(self.not_before))
    }

    /// The nodes to be given up now, of so many, and how long they have been silent. They are not expected to say
    /// anything any more.
    pub(super) fn give_up(
        &mut self,
        liveness: &mut Liveness,
        now: Duration,
        nodes: usize,
    ) -> Vec<(NodeId, Duration)> {
        if now < self.not_before {
            return Vec::new();
        }
        let silent: Vec<NodeId> = liveness.expired(now).take(MOST.max(nodes / 10)).collect();
        if !silent.is_empty() {
            self.not_before = now + PAUSE;
        }
        let mut silence = |node: NodeId| now.saturating_sub(liveness.forget(node).unwrap_or(now));
        silent.into_iter().map(|node| (node, silence(node))).collect()
    }
}
