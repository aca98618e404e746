//! Whole controllers in one process, on loopback ports, seen through what clients, agents and joiners see.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod agent;
mod disaster;
mod harness;
mod identity;
mod load;
mod logs;
mod mass_loss;
mod members;
mod membership;
mod processes;
mod reads;
mod sessions;
mod stacks;
mod upgrade;
