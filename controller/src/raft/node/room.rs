//! A disk that is nearly full: new changes are refused before the log hits the wall, and another leads.

use ::raft::StateRole;

use super::RaftCore;
use crate::raft::reply::ProposeError;
use crate::raft::space::Space;
use crate::raft::state_machine::StateMachine;
use crate::raft::storage::Store;

/// Ticks before leadership is handed over once more: where every disk is nearly full, that helps nobody.
const YIELD_TICKS: u64 = 1200;

/// What is known of the disk.
#[derive(Default)]
pub(super) struct Room {
    short: Option<Space>,
    next_yield: u64,
}

impl Room {
    /// Whether a new change may be taken on.
    pub(super) fn check(&self) -> Result<(), ProposeError> {
        self.short.map_or(Ok(()), |space| Err(ProposeError::NoSpace { free: space.free }))
    }
}

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Tells how much space the disk has. What raft itself has to write it goes on writing; new commands
    /// are refused while space is short, and a leader hands over to one who may have more.
    pub fn set_space(&mut self, space: Option<Space>) {
        let short = space.filter(Space::is_short);
        match (short, self.room.short) {
            (Some(space), None) => {
                let mib = space.free >> 20;
                tracing::warn!(
                    free_mib = mib,
                    "the disk is nearly full: new changes are refused until space is freed"
                );
            }
            (None, Some(_)) => tracing::info!("there is space on the disk again: changes are taken"),
            _ => {}
        }
        self.room.short = short;
        let leads = self.raw.raft.state == StateRole::Leader && self.raw.raft.lead_transferee.is_none();
        if short.is_none() || !leads || self.now < self.room.next_yield {
            return;
        }
        let Some(successor) = self.best_successor() else { return };
        self.room.next_yield = self.now + YIELD_TICKS;
        tracing::warn!(controller = successor, "handing leadership over to one that may have more space");
        let told = move |result| {
            if let Err(error) = result {
                tracing::warn!(%error, "leadership was not handed over");
            }
        };
        self.transfer_leader(successor, Box::new(told));
    }
}
