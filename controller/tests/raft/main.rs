//! The controller's Raft: simulated schedules over the real core, and the real log on a real disk.

mod checker;
mod mem_store;
mod random;
mod scenarios;
mod sim;
