//! Linearizability on real processes: clients use a cluster's objects as registers while faults go on, and what they
//! saw is checked with stateright's tester.
//!
//! A register is a stack whose value is the label of a volume: one read gives value and version, `ApplyStack` sets it,
//! and `ApplyStack` against a version is a check-and-set.

mod check;
mod client;
mod fault;
mod history;
mod nemesis;
mod register;
mod workload;

pub use check::{Verdict, check, judge};
pub use client::{Client, Reading, Route};
pub use fault::Fault;
pub use history::{Call, History, Operation, Outcome, Recorder};
pub use nemesis::Nemesis;
pub use workload::{Workload, context};
