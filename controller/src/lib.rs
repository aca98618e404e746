//! The controller: a few replicas that agree through Raft on what should run where.

pub mod raft;
