//! The controller's Raft: simulated schedules over the real core, and the real log on a real disk.
#![allow(clippy::unwrap_used)] // tests

mod checker;
mod crash;
mod disk;
mod driver;
mod failing_disk;
mod kill;
mod lossy_file;
mod mem_store;
mod pressure;
mod random;
mod replicas;
mod restoring;
mod scenarios;
mod sim;
