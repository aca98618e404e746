//! Wharf's image side against a real registry server on loopback, real archives and real mounts. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod disk_full;
mod hostile_layers;
mod import_push;
mod layers;
mod pull;
mod pull_faults;
mod snapshots;
mod support;
mod tls;
