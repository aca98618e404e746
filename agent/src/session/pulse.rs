//! How often the controller hears from this agent, and how long the agent waits for the controller.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use wharf_proto::v1::{Heartbeat, agent_message};

use super::order::Place;

/// Heartbeats are sent at least this far apart, and at most that far, whatever the controller says.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);

/// The heartbeats of a session, from one word of the controller about them to the next.
#[derive(Debug)]
pub(super) struct Pulse {
    interval: Interval,
    /// Every heartbeat is answered. A controller that says nothing for as long as it would wait for us is gone.
    pub(super) patience: Duration,
}

impl Pulse {
    /// As the controller wants it, in milliseconds. The first heartbeat is due at once.
    pub(super) fn new(heartbeat: u64, ttl: u64) -> Self {
        let heartbeat = Duration::from_millis(heartbeat).clamp(*HEARTBEAT.start(), *HEARTBEAT.end());
        let mut interval = interval(heartbeat);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Pulse { interval, patience: Duration::from_millis(ttl).max(heartbeat * 3) }
    }

    /// Waits until a heartbeat is due.
    pub(super) async fn tick(&mut self) {
        self.interval.tick().await;
    }

    /// What a heartbeat says.
    pub(super) fn beat(&self, place: &Place) -> agent_message::Message {
        let interval = u64::try_from(self.interval.period().as_millis()).unwrap_or(u64::MAX);
        agent_message::Message::Heartbeat(Heartbeat {
            sequence: place.sequence.unwrap_or_default(),
            interval,
        })
    }
}
