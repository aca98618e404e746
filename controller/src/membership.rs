//! Who should vote, learn or go: decisions about Raft's group, from the table of controllers and what the leader knows.

use crate::{
    raft::{PeerState, RaftStatus, Role},
    transport::Told,
};
use std::collections::BTreeMap;
use wharf_cluster::{ids::ControllerId, level::Level, model::Controller, state::State};

/// A learner that lags by no more than this may vote.
const CAUGHT_UP: u64 = 256;

/// A change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make it a learner.
    Add(Controller),
    /// Make a learner a voter.
    Promote(ControllerId),
    /// Make a voter a learner.
    Demote(ControllerId),
    /// Take it out.
    Remove(ControllerId),
}

/// What brings the group nearer to the table, if anything can now.
#[must_use]
pub fn next_step(state: &State, status: &RaftStatus) -> Option<Step> {
    // One change at a time; a joint one is finished by Raft.
    if status.role != Role::Leader || !status.voters_outgoing.is_empty() {
        return None;
    }
    // A cluster that is only being made has no table.
    state.controllers().next()?;
    let known = |id: &u64| state.controller(ControllerId(*id));
    let members = || status.voters.iter().chain(&status.learners);
    let may_leave = |id: &u64| keeps_majority(status, *id, |_| true);
    let gone = || {
        members().find(|id| known(id).is_none() && may_leave(id)).map(|id| Step::Remove(ControllerId(*id)))
    };
    let demoted = || {
        let mut voters = status.voters.iter();
        let found = voters.find(|id| known(id).is_some_and(|known| !known.votes) && may_leave(id));
        found.map(|id| Step::Demote(ControllerId(*id)))
    };
    let ready = || {
        let mut learners = status.learners.iter();
        let found =
            learners.find(|id| known(id).is_some_and(|known| known.votes) && is_caught_up(status, **id));
        found.map(|id| Step::Promote(ControllerId(*id)))
    };
    let missing = || {
        let mut table = state.controllers();
        table.find(|known| !members().any(|id| *id == known.id.0)).map(|known| Step::Add(known.clone()))
    };
    gone().or_else(demoted).or_else(ready).or_else(missing)
}

/// Whether the group is what the table says, but for those that still have to catch up.
#[must_use]
pub fn is_settled(state: &State, status: &RaftStatus) -> bool {
    let known = |id: &u64| state.controller(ControllerId(*id));
    let mut voters = status.voters.iter().chain(&status.voters_outgoing);
    voters.all(|id| known(id).is_some_and(|known| known.votes))
        && status.learners.iter().all(|id| known(id).is_some())
}

/// Whether a member holds nearly everything that this leader has.
#[must_use]
pub fn is_caught_up(status: &RaftStatus, id: u64) -> bool {
    status.peers.get(&id).is_some_and(|peer| {
        peer.active && peer.state == PeerState::Replicate && peer.matched + CAUGHT_UP >= status.last_index
    })
}

/// Whether the leader hears from a member; itself it does.
#[must_use]
pub fn is_heard(status: &RaftStatus, id: u64) -> bool {
    id == status.id || status.peers.get(&id).is_some_and(|peer| peer.active)
}

/// Whether the voters that are heard would be a majority without `gone`, of those that `stay`.
fn keeps_majority(status: &RaftStatus, gone: u64, stay: impl Fn(u64) -> bool) -> bool {
    // A learner's going changes no majority.
    if !status.voters.contains(&gone) {
        return true;
    }
    let left: Vec<u64> = status.voters.iter().copied().filter(|id| *id != gone && stay(*id)).collect();
    let heard = left.iter().filter(|id| is_heard(status, **id)).count();
    heard * 2 > left.len()
}

/// Whether `gone` may stop voting: what is left has to go on without it.
///
/// # Errors
/// Why not, for people.
pub fn check_leaving(state: &State, status: &RaftStatus, gone: &Controller) -> Result<(), String> {
    let id = gone.id.0;
    let stays = |other: u64| state.controller(ControllerId(other)).is_some_and(|known| known.votes);
    if keeps_majority(status, id, stays) {
        return Ok(());
    }
    if !status.voters.iter().any(|other| *other != id && stays(*other)) {
        return Err(format!(
            "controller {} is the only one that votes: join another one first, or promote one \
             (wharf controller promote), or the cluster would be gone",
            gone.name
        ));
    }
    let name =
        |id: &u64| state.controller(ControllerId(*id)).map_or_else(String::new, |known| known.name.clone());
    let silent = status.voters.iter().filter(|other| **other != id && !is_heard(status, **other));
    Err(format!(
        "without controller {} those that answer would be no majority: {} must be back first \
         (wharf get controllers)",
        gone.name,
        silent.map(name).collect::<Vec<_>>().join(", ")
    ))
}

/// The level that every controller knows, in the table or in the group: `None` while one of them isn't connected.
#[must_use]
pub fn common_level(
    state: &State,
    status: &RaftStatus,
    own: Level,
    told: &BTreeMap<u64, Told>,
) -> Option<Level> {
    let members = status.voters.iter().chain(&status.voters_outgoing).chain(&status.learners).copied();
    let all = members.chain(state.controllers().map(|known| known.id.0));
    let known = |id: u64| {
        if id == status.id {
            return Some(own);
        }
        told.get(&id).filter(|told| told.connected && is_heard(status, id)).map(|told| told.level)
    };
    all.map(known).collect::<Option<Vec<Level>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::PeerProgress;
    use wharf_cluster::{
        command::{Command, Envelope},
        ids::Timestamp,
    };

    fn execute(state: &mut State, command: Command) {
        state.execute(&Envelope { at: Timestamp(1), request: None, command }).0.unwrap();
    }

    /// A table of these; those in `learners` are not to vote.
    fn table(ids: &[u64], learners: &[u64]) -> State {
        let mut state = State::default();
        for id in ids {
            execute(
                &mut state,
                Command::SetControllerAddress {
                    controller: ControllerId(*id),
                    name: format!("c{id}"),
                    address: format!("c{id}:7400"),
                },
            );
        }
        for id in learners {
            execute(&mut state, Command::SetControllerVotes { controller: ControllerId(*id), votes: false });
        }
        state
    }

    /// Controller 1 leads; those in `silent` are not heard.
    fn group(voters: &[u64], learners: &[u64], silent: &[u64]) -> RaftStatus {
        let progress = |id: &u64| PeerProgress {
            matched: 990,
            state: PeerState::Replicate,
            active: !silent.contains(id),
        };
        RaftStatus {
            id: 1,
            role: Role::Leader,
            last_index: 1000,
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            peers: voters
                .iter()
                .chain(learners)
                .filter(|id| **id != 1)
                .map(|id| (*id, progress(id)))
                .collect(),
            ..RaftStatus::default()
        }
    }

    #[test]
    fn the_group_follows_the_table() {
        let two = ControllerId(2);
        assert_eq!(next_step(&table(&[1, 2], &[]), &group(&[1, 2], &[], &[])), None);
        let added = next_step(&table(&[1, 2], &[]), &group(&[1], &[], &[]));
        assert!(matches!(added, Some(Step::Add(controller)) if controller.id == two));
        assert_eq!(next_step(&table(&[1, 2], &[]), &group(&[1], &[2], &[])), Some(Step::Promote(two)));
        assert_eq!(next_step(&table(&[1, 2], &[2]), &group(&[1], &[2], &[])), None);
        assert_eq!(next_step(&table(&[1, 2], &[2]), &group(&[1, 2], &[], &[])), Some(Step::Demote(two)));
        assert_eq!(next_step(&table(&[1], &[]), &group(&[1, 2], &[], &[])), Some(Step::Remove(two)));
        assert_eq!(next_step(&table(&[1], &[]), &group(&[1], &[2], &[2])), Some(Step::Remove(two)));
        assert_eq!(next_step(&State::default(), &group(&[1], &[], &[])), None);
        let mut behind = group(&[1], &[2], &[]);
        behind.peers.get_mut(&2).unwrap().matched = 10;
        assert_eq!(next_step(&table(&[1, 2], &[]), &behind), None);
    }

    #[test]
    fn the_group_keeps_its_majority_whatever_the_table_says() {
        // 3 died after 2 was taken off the table.
        assert_eq!(next_step(&table(&[1, 3], &[]), &group(&[1, 2, 3], &[], &[3])), None);
        // Both are to go: the dead one first.
        let both = group(&[1, 2, 3], &[], &[3]);
        assert_eq!(next_step(&table(&[1], &[]), &both), Some(Step::Remove(ControllerId(3))));
    }

    #[test]
    fn what_would_lose_the_majority_is_refused() {
        let check = |state: &State, status: &RaftStatus, id| {
            check_leaving(state, status, state.controller(ControllerId(id)).unwrap())
        };
        let state = table(&[1, 2, 3, 4], &[4]);
        let status = group(&[1, 2, 3], &[4], &[3, 4]);
        assert_eq!(check(&state, &status, 3), Ok(()));
        assert_eq!(check(&state, &status, 4), Ok(()));
        assert!(check(&state, &status, 2).unwrap_err().contains("c3 must be back"));
        assert!(check(&state, &status, 1).is_err());
        // One that is on its way out doesn't count among those that stay.
        let leaving = table(&[1, 2, 3], &[2, 3]);
        assert!(check(&leaving, &group(&[1, 2, 3], &[], &[]), 1).unwrap_err().contains("the only one"));
        assert!(check(&table(&[1], &[]), &group(&[1], &[], &[]), 1).unwrap_err().contains("the only one"));
    }

    #[test]
    fn the_level_is_what_all_have_said_that_they_know() {
        let told = |levels: &[(u64, u8, bool)]| -> BTreeMap<u64, Told> {
            let told = |(id, level, connected): &(u64, u8, bool)| {
                let (address, version) = (String::new(), String::new());
                (*id, Told { address, version, level: Level(*level), connected: *connected })
            };
            levels.iter().map(told).collect()
        };
        let state = table(&[1, 2, 3], &[]);
        let status = group(&[1, 2], &[3], &[]);
        let level = |told| common_level(&state, &status, Level(2), &told);
        assert_eq!(level(told(&[(2, 2, true), (3, 2, true)])), Some(Level(2)));
        assert_eq!(level(told(&[(2, 3, true), (3, 3, true)])), Some(Level(2)));
        assert_eq!(level(told(&[(2, 1, true), (3, 2, true)])), Some(Level(1)));
        assert_eq!(level(told(&[(2, 2, true), (3, 2, false)])), None);
        assert_eq!(level(told(&[(2, 2, true)])), None);
        // One that has its id, and is no member yet.
        let joining = table(&[1, 2, 3, 4], &[]);
        assert_eq!(common_level(&joining, &status, Level(2), &told(&[(2, 2, true), (3, 2, true)])), None);
    }
}
