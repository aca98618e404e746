//! The cluster's model, its replicated state machine, and every decision made about it.
//!
//! Everything here is pure: no clock, no randomness, no I/O, no threads. Time arrives inside commands,
//! ids are counted by the state itself, so that equal commands in equal order make equal states on every
//! replica, and a test replays exactly.
//!
//! * [`model`]: what there is (nodes, stacks, services, tasks, controllers, tokens)
//! * [`command`]: what can be asked of the state machine; [`event`]: what it did
//! * [`level`]: what a command needs all controllers to know
//! * [`state`]: the state, [`state::plan`] (command to events, may refuse) and [`state::apply`] (infallible)
//! * [`feasibility`]: may this task run on that node; asked by the scheduler and again when a placement is applied
//! * [`scheduler`]: where tasks go, and why the rest can't
//! * [`orchestrator`]: which tasks there should be (replicas, global services, jobs, restarts, rollouts, reaping)
//! * [`preview`]: what applying a stack would do
//! * [`planted`]: bugs on purpose, to prove that the tests would find them; none of them is in a shipped program

pub mod command;
pub mod event;
pub mod feasibility;
pub mod ids;
pub mod level;
pub mod model;
pub mod orchestrator;
pub mod planted;
pub mod preview;
pub mod scheduler;
pub mod state;
mod text;
