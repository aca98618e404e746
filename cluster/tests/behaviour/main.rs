//! The decisions of the crate seen from outside: a world of model agents that do as they are told, and disturbances.

#![allow(clippy::unwrap_used, reason = "the whole crate is a test; clippy only sees that of test functions")]

mod converge;
mod jobs;
mod placement;
mod preview;
mod random;
mod restarts;
mod rollouts;
mod services;
mod world;
