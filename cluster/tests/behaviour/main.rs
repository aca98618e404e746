//! The decisions of the crate seen from outside: a world of model agents that do as they are told, and disturbances.

mod converge;
mod jobs;
mod placement;
mod preview;
mod random;
mod restarts;
mod rollouts;
mod services;
mod world;
