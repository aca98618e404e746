//! Whole controllers in one process, on loopback ports, seen through what clients, agents and joiners see.

mod agent;
mod harness;
mod identity;
mod logs;
mod members;
mod reads;
mod sessions;
mod stacks;
