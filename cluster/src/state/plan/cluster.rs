//! Commands about the cluster itself: its making, its tokens, its controllers.

use super::{Planned, Rejected};
use crate::{
    event::Event,
    ids::{ControllerId, Timestamp},
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

pub(super) fn add_controller(state: &State, name: &str, address: &str) -> Planned {
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
    };
    Ok(vec![Event::ControllerRecorded { controller }])
}

pub(super) fn set_controller_address(state: &State, id: ControllerId, name: &str, address: &str) -> Planned {
    let joined = state.controller(id).map_or(state.now(), |known| known.joined);
    let controller = Controller { id, name: name.to_owned(), address: address.to_owned(), joined };
    if state.controller(id) == Some(&controller) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::ControllerRecorded { controller }])
}

pub(super) fn remove_controller(state: &State, id: ControllerId) -> Planned {
    match state.controller(id) {
        Some(_) => Ok(vec![Event::ControllerRemoved { controller: id }]),
        None => Err(Rejected::NotFound(format!("there is no controller {id}"))),
    }
}
