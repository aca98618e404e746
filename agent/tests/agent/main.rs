//! The agent through its public face: the worker with fakes and for real, the session with a controller of the test's
//! own, the bridge in a network namespace.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod bridge;
mod end_to_end;
mod session;
mod support;
mod worker;
