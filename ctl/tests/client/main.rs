//! `wharf` itself, against a controller of the test's own: the generated service over real TLS.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod applying;
mod backups;
mod calls;
mod contexts;
mod lists;
mod logs;
mod support;
