//! Controllers: the table, and what Raft knows of each.

use crate::{core::Core, raft::Role, transport::OWN_VERSION};
use wharf_cluster::{model, state::State};
use wharf_proto::v1;

/// Every controller, as the leader sees it; another one knows less of its peers.
#[must_use]
pub fn controllers(core: &Core, state: &State) -> Vec<v1::Controller> {
    let status = core.raft.status().borrow().clone();
    let told = core.peers.told();
    let shown = |controller: &model::Controller| {
        let id = controller.id.0;
        let own = controller.id == core.id;
        let peer = status.peers.get(&id);
        let role = if status.leader == Some(id) {
            "leader"
        } else if status.voters.contains(&id) {
            "voter"
        } else {
            "learner"
        };
        let matched = if own { status.last_index } else { peer.map_or(0, |peer| peer.matched) };
        let told = told.get(&id);
        v1::Controller {
            id: controller.id.to_string(),
            name: controller.name.clone(),
            address: controller.address.clone(),
            role: role.to_owned(),
            reachable: own
                || peer.is_some_and(|peer| peer.active)
                || (status.role != Role::Leader && status.leader == Some(id)),
            matched,
            joined: controller.joined.0,
            version: if own {
                OWN_VERSION.to_owned()
            } else {
                told.map(|told| told.version.clone()).unwrap_or_default()
            },
            term: status.term,
            applied: if own { status.applied } else { 0 },
            level: if own { core.level.0.into() } else { told.map_or(0, |told| told.level.0.into()) },
            cluster_level: state.level().0.into(),
            demoted: !controller.votes,
            behind: status.last_index.saturating_sub(matched),
        }
    };
    state.controllers().map(shown).collect()
}
