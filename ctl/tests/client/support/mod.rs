//! What the tests stand on: clusters that answer as a test wants, and the program run against them.

mod cluster;
mod objects;
mod run;
mod service;

pub(crate) use cluster::Cluster;
pub(crate) use objects::{controller, controller_at, node, plan, service, task};
pub(crate) use run::run_in;
pub(crate) use service::{Picture, Script};
