//! The registry's behaviour through its public face: HTTP requests to a running registry, the command
//! itself, and `skopeo` as a client of another make.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute only, and not what they call")]

mod cluster;
mod command;
mod crash;
mod discovery;
mod garbage;
mod hostile;
mod management;
mod manifests;
mod pull;
mod push;
mod skopeo;
mod support;
