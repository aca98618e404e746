//! Commands about the cluster itself: its making, its tokens, its controllers.

use super::{Planned, Rejected};
use crate::{
    event::Event,
    ids::{ControllerId, Timestamp},
    level::Level,
    model::{ClusterInfo, Controller, JoinRole, Token},
    state::State,
};
use std::collections::BTreeMap;

pub(super) fn init(
    state: &State,
    id: &str,
    ca_cert: &str,
    ca_key: &str,
    tokens: &BTreeMap<JoinRole, String>,
) -> Planned {
    if state.cluster().is_some() {
        return Err(Rejected::Conflict("the cluster has been made already".to_owned()));
    }
    let info = ClusterInfo {
        id: id.to_owned(),
        ca_cert: ca_cert.to_owned(),
        ca_key: ca_key.to_owned(),
        created: state.now(),
    };
    let mut events = vec![Event::ClusterInitialized { info }];
    for (role, secret) in tokens {
        let token = Token { secret: secret.clone(), created: state.now(), expires: None, replaced: None };
        events.push(Event::TokenRotated { role: *role, token });
    }
    Ok(events)
}

pub(super) fn rotate_token(
    state: &State,
    role: JoinRole,
    secret: &str,
    expires: Option<Timestamp>,
) -> Planned {
    let token = Token {
        secret: secret.to_owned(),
        created: state.now(),
        expires,
        replaced: state.token(role).map(|token| token.secret.clone()),
    };
    Ok(vec![Event::TokenRotated { role, token }])
}

pub(super) fn add_controller(state: &State, name: &str, address: &str, level: Level) -> Planned {
    if level < state.level() {
        return Err(Rejected::Precondition(format!(
            "the cluster uses what a controller needs level {} for, and {name} knows no more than level {level}: \
             upgrade it (or raise its --max-level), then join again",
            state.level()
        )));
    }
    if let Some(known) = state.controllers().find(|known| known.address == address) {
        return Err(Rejected::Conflict(format!(
            "controller {} ({}) has the address {address} already; remove it first, or give another --advertise",
            known.id, known.name
        )));
    }
    let controller = Controller {
        id: ControllerId(state.next_id),
        name: name.to_owned(),
        address: address.to_owned(),
        joined: state.now(),
        votes: true,
    };
    Ok(vec![Event::ControllerRecorded { controller }])
}

pub(super) fn set_controller_address(state: &State, id: ControllerId, name: &str, address: &str) -> Planned {
    let known = state.controller(id);
    let controller = Controller {
        id,
        name: name.to_owned(),
        address: address.to_owned(),
        joined: known.map_or(state.now(), |known| known.joined),
        votes: known.is_none_or(|known| known.votes),
    };
    if known == Some(&controller) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::ControllerRecorded { controller }])
}

pub(super) fn remove_controller(state: &State, id: ControllerId) -> Planned {
    let controller = controller(state, id)?;
    // The first level knows of no such refusal, and its replicas would not be equal.
    if state.level() >= Level::SECOND {
        check_others_vote(state, controller)?;
    }
    Ok(vec![Event::ControllerRemoved { controller: id }])
}

pub(super) fn set_controller_votes(state: &State, id: ControllerId, votes: bool) -> Planned {
    let known = controller(state, id)?;
    if known.votes == votes {
        return Ok(Vec::new());
    }
    if !votes {
        check_others_vote(state, known)?;
    }
    let controller = Controller { votes, ..known.clone() };
    Ok(vec![Event::ControllerRecorded { controller }])
}

pub(super) fn raise_level(state: &State, to: Level) -> Vec<Event> {
    if to > state.level() { vec![Event::LevelRaised { level: to }] } else { Vec::new() }
}

fn controller(state: &State, id: ControllerId) -> Result<&Controller, Rejected> {
    state.controller(id).ok_or_else(|| Rejected::NotFound(format!("there is no controller {id}")))
}

/// Refuses what would leave nobody to vote.
fn check_others_vote(state: &State, gone: &Controller) -> Result<(), Rejected> {
    if gone.votes && !state.controllers().any(|other| other.votes && other.id != gone.id) {
        return Err(Rejected::Precondition(format!(
            "controller {} is the only one that votes: join or promote another one first",
            gone.name
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Envelope};

    fn execute(state: &mut State, command: Command) -> Result<usize, Rejected> {
        let (outcome, events) = state.execute(&Envelope { at: Timestamp(1), request: None, command });
        outcome.map(|_| events.len())
    }

    fn two() -> State {
        let mut state = State::default();
        for id in [1, 2] {
            let (name, address) = (format!("c{id}"), format!("c{id}:7400"));
            let command = Command::SetControllerAddress { controller: ControllerId(id), name, address };
            execute(&mut state, command).unwrap();
        }
        state
    }

    fn votes(controller: u64, votes: bool) -> Command {
        Command::SetControllerVotes { controller: ControllerId(controller), votes }
    }

    #[test]
    fn somebody_always_votes() {
        let mut state = two();
        execute(&mut state, Command::RaiseLevel { to: Level::SECOND }).unwrap();
        assert_eq!(execute(&mut state, votes(1, false)), Ok(1));
        assert_eq!(execute(&mut state, votes(1, false)), Ok(0));
        let refused = execute(&mut state, votes(2, false)).unwrap_err();
        assert!(matches!(&refused, Rejected::Precondition(why) if why.contains("c2")), "{refused}");
        let remove = |id| Command::RemoveController { controller: ControllerId(id) };
        assert!(matches!(execute(&mut state, remove(2)), Err(Rejected::Precondition(_))));
        assert_eq!(execute(&mut state, remove(1)), Ok(1));
        assert!(matches!(execute(&mut state, votes(1, true)), Err(Rejected::NotFound(_))));
    }

    #[test]
    fn a_new_address_changes_no_vote() {
        let mut state = two();
        execute(&mut state, votes(1, false)).unwrap();
        let (name, address) = ("c1".to_owned(), "elsewhere:7400".to_owned());
        let moved = Command::SetControllerAddress { controller: ControllerId(1), name, address };
        assert_eq!(execute(&mut state, moved), Ok(1));
        assert!(!state.controller(ControllerId(1)).unwrap().votes);
    }

    #[test]
    fn the_level_only_rises_and_who_knows_less_may_not_join() {
        let mut state = two();
        let join = |level| Command::AddController {
            name: format!("of level {level}"),
            address: format!("level{level}:7400"),
            level,
        };
        assert_eq!(execute(&mut state, join(Level::FIRST)), Ok(1));
        assert_eq!(execute(&mut state, Command::RaiseLevel { to: Level(3) }), Ok(1));
        assert_eq!(execute(&mut state, Command::RaiseLevel { to: Level(2) }), Ok(0));
        assert_eq!(state.level(), Level(3));
        let refused = execute(&mut state, join(Level(2))).unwrap_err();
        assert!(refused.to_string().contains("upgrade it"), "{refused}");
        assert_eq!(execute(&mut state, join(Level(3))), Ok(1));
    }
}
