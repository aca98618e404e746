//! Beginning again with one controller: after all others were lost for good, or from a backup.

use super::{State, history::Words};
use crate::{
    ids::{ControllerId, Timestamp},
    model::Controller,
};

/// Ids handed out by a leader that this state has not heard of lie below the next multiple of this.
const STEP: u64 = 1 << 40;
/// 2026-01-01T00:00:00Z, in milliseconds since the epoch.
const FIRST_DAY: Timestamp = Timestamp(1_767_225_600_000);
/// Ids that a millisecond has: far more than any cluster hands out in it.
const IDS_A_MILLISECOND: u64 = 1 << 22;

/// Who goes on with a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Founder {
    /// A controller of the table, which outlived the others.
    Survivor(ControllerId),
    /// A new controller, on a state that comes from a backup.
    New {
        /// What people call it.
        name: String,
        /// `host:port`.
        address: String,
    },
}

impl State {
    /// Makes `founder` the only controller, and gives its id; `None` if the table doesn't know the survivor. Ids go on
    /// far beyond those in use: agents may hold tasks that this state has never heard of, and none may be taken for
    /// another.
    pub fn begin_again(&mut self, founder: &Founder, at: Timestamp) -> Option<ControllerId> {
        let kept = match founder {
            Founder::Survivor(id) => Some(self.controllers.get(id)?.clone()),
            Founder::New { .. } => None,
        };
        self.now = self.now.max(at);
        self.skip_ids(at);
        let (controller, action, message) = match (kept, founder) {
            (None, Founder::New { name, address }) => {
                let id = ControllerId(self.next_id);
                self.next_id = self.next_id.saturating_add(1);
                let joined = self.now;
                let made =
                    Controller { id, name: name.clone(), address: address.clone(), joined, votes: true };
                (made, "restored", "from a backup, with a new controller")
            }
            // It may have been demoted: now nobody else is there to vote.
            (Some(kept), _) => {
                (Controller { votes: true, ..kept }, "recovered", "one controller goes on without all others")
            }
            (None, Founder::Survivor(_)) => return None,
        };
        let dropped: Vec<Controller> =
            self.controllers.values().filter(|known| known.id != controller.id).cloned().collect();
        for lost in dropped {
            self.history.push(self.now, Words::about("controller", lost.name, "removed", &lost.address));
        }
        let cluster = self.cluster.as_ref().map(|info| info.id.clone()).unwrap_or_default();
        self.history.push(self.now, Words::about("cluster", cluster, action, message));
        let id = controller.id;
        self.controllers = [(id, controller)].into_iter().collect();
        Some(id)
    }

    /// Continues ids where none has been handed out, whatever happened since this state was written: beyond a large
    /// step, and beyond what the time that has passed could have used up. So the same backup can be restored twice.
    fn skip_ids(&mut self, at: Timestamp) {
        let beyond = (self.next_id / STEP + 1).saturating_mul(STEP);
        let by_time = at.since(FIRST_DAY).saturating_mul(IDS_A_MILLISECOND);
        self.next_id = beyond.max(by_time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::{Command, Envelope},
        model::NodeDescription,
        state::Reply,
    };

    const DAY: u64 = 24 * 3600 * 1000;

    fn execute(state: &mut State, command: Command) -> Reply {
        state.execute(&Envelope { at: Timestamp(1), request: None, command }).0.unwrap()
    }

    fn cluster() -> State {
        let mut state = State::default();
        for id in 1..=3 {
            let controller = ControllerId(id);
            let (name, address) = (format!("c{id}"), format!("c{id}:7400"));
            execute(&mut state, Command::SetControllerAddress { controller, name, address });
        }
        state
    }

    fn next_id(state: &mut State) -> u64 {
        let register = Command::RegisterNode { description: NodeDescription::default() };
        match execute(state, register) {
            Reply::Node(id) => id.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_survivor_keeps_its_id_and_the_others_are_forgotten() {
        let mut state = cluster();
        let before = next_id(&mut state);
        let founder = Founder::Survivor(ControllerId(2));
        assert_eq!(state.begin_again(&founder, Timestamp(5)), Some(ControllerId(2)));
        let left: Vec<&str> = state.controllers().map(|known| known.name.as_str()).collect();
        assert_eq!(left, ["c2"]);
        assert!(next_id(&mut state) >= before + (STEP - before));
        assert_eq!(state.now(), Timestamp(5));
        let words: Vec<_> = state.history().iter().map(|record| record.action.to_string()).collect();
        assert_eq!(words[words.len() - 4..], ["removed", "removed", "recovered", "joined"]);
        let stranger = Founder::Survivor(ControllerId(9));
        let untouched = state.clone();
        assert_eq!(state.begin_again(&stranger, Timestamp(6)), None);
        assert_eq!(state, untouched);
    }

    #[test]
    fn the_same_backup_restored_twice_hands_out_no_id_twice() {
        let founder = Founder::New { name: "n".to_owned(), address: "n:7400".to_owned() };
        let restore = |at| {
            let mut state = cluster();
            state.begin_again(&founder, Timestamp(FIRST_DAY.0 + at)).unwrap();
            state
        };
        let mut first = restore(100 * DAY);
        let used: Vec<u64> = (0..40).map(|_| next_id(&mut first)).collect();
        let mut second = restore(100 * DAY + 1);
        assert!(next_id(&mut second) > used[39]);
        // A clock that is wrong is no worse than none.
        let mut early = cluster();
        early.begin_again(&founder, Timestamp(0)).unwrap();
        assert!(next_id(&mut early) >= STEP);
        let mut full = cluster();
        full.next_id = u64::MAX - 1;
        full.begin_again(&founder, Timestamp(u64::MAX)).unwrap();
    }
}
