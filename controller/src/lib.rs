//! The controller: a few replicas that agree through Raft on what should run where.
//!
//! * [`raft`]: the replicated log; [`replica`]: the cluster's state on it; [`propose`]: the way of a write
//! * [`gate`]: who may call what, and passing calls on to the leader
//! * [`transport`]: controllers among each other
//! * [`leader`]: what only the leader does: orchestrators, scheduler, membership, the agents' sessions
//! * [`Controller`]: all of it, started and stopped

mod agent_api;
mod authority;
mod belonging;
mod bootstrap;
mod cli;
pub mod clock;
mod control_api;
pub mod core;
mod data_dir;
pub mod gate;
mod identity_api;
mod join;
pub mod leader;
pub mod leadership;
pub mod membership;
pub mod propose;
pub mod raft;
pub mod recover;
mod renew;
pub mod replica;
pub mod restore;
mod server;
pub mod settings;
mod start;
pub mod succession;
pub mod transport;
mod views;

pub use cli::Cli;
pub use start::{Controller, ControllerError, Ended};
