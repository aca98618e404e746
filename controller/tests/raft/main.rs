//! The controller's Raft: simulated schedules over the real core, and the real log on a real disk.
#![allow(clippy::unwrap_used)] // tests

mod checker;
mod crash;
mod disk;
mod driver;
mod kill;
mod lossy_file;
mod mem_store;
mod random;
mod scenarios;
mod sim;
