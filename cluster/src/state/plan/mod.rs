//! From a command to its events, or a refusal. Reads the state, changes nothing.

mod cluster;
mod nodes;
mod services;
mod stacks;
mod tasks;

use super::State;
use crate::{command::Command, event::Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a command is refused. The text is for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Rejected {
    /// What the command is about isn't there.
    #[error("{0}")]
    NotFound(String),
    /// It was planned against something that has changed since, or it is there already.
    #[error("{0}")]
    Conflict(String),
    /// It makes no sense, now or ever.
    #[error("{0}")]
    Invalid(String),
    /// It can't be done in the present state.
    #[error("{0}")]
    Precondition(String),
}

/// Result of planning a command.
pub type Planned = Result<Vec<Event>, Rejected>;

/// What `command` would do to `state`.
///
/// # Errors
/// When the command is refused as a whole. Batches of internal commands (placements, reports, …) are never refused:
/// parts that no longer apply are left out.
pub fn plan(state: &State, command: &Command) -> Planned {
    match command {
        Command::InitCluster { id, ca_cert, ca_key, tokens } => {
            cluster::init(state, id, ca_cert, ca_key, tokens)
        }
        Command::RotateToken { role, secret, expires } => {
            cluster::rotate_token(state, *role, secret, *expires)
        }
        Command::AddController { name, address, level } => {
            cluster::add_controller(state, name, address, *level)
        }
        Command::SetControllerAddress { controller, name, address } => {
            cluster::set_controller_address(state, *controller, name, address)
        }
        Command::RemoveController { controller } => cluster::remove_controller(state, *controller),
        Command::SetControllerVotes { controller, votes } => {
            cluster::set_controller_votes(state, *controller, *votes)
        }
        Command::RaiseLevel { to } => Ok(cluster::raise_level(state, *to)),

        Command::ApplyStack { spec, expected_version } => stacks::apply(state, spec, *expected_version),
        Command::RemoveStack { stack } => stacks::remove(state, stack),
        Command::RemoveService { service } => services::remove(state, service),
        Command::ScaleServices { replicas } => services::scale(state, replicas),
        Command::RestartService { service } => services::restart(state, service),
        Command::UndoRollout { service, to } => services::undo(state, service, *to),
        Command::SetRollout { service, to, state: next, message } => {
            services::set_rollout(state, *service, *to, *next, message)
        }
        Command::ForgetService { service } => services::forget(state, *service),

        Command::RegisterNode { description } => nodes::register(state, description),
        Command::RemoveNode { node, force } => nodes::remove(state, *node, *force),
        Command::SetAvailability { node, availability } => {
            nodes::set_availability(state, *node, *availability)
        }
        Command::SetNodeLabels { node, set, remove } => nodes::set_labels(state, *node, set, remove),
        Command::DescribeNode { node, description } => nodes::describe(state, *node, description),
        Command::SetNodeStates { nodes } => Ok(nodes::set_states(state, nodes)),

        Command::ReportTasks { reports } => Ok(tasks::report(state, reports)),
        Command::CreateTasks { tasks } => Ok(tasks::create(state, tasks)),
        Command::PlaceTasks { placements } => Ok(tasks::place(state, placements)),
        Command::ExplainUnplaced { reasons } => Ok(tasks::explain(state, reasons)),
        Command::SetDesired { tasks } => Ok(tasks::set_desired(state, tasks)),
        Command::RemoveTasks { tasks } => Ok(tasks::remove(state, tasks)),
        Command::OrphanTasks { tasks } => Ok(tasks::orphan(state, tasks)),
    }
}
