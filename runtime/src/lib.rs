//! Runs containers for the node agent: what a container is ([`spec`]), the face the agent uses
//! ([`api`]), the client that starts and finds shims (`client`), and the shim itself (`shim`),
//! one small process per container that outlives the agent.
//!
//! Files of one container, under the run directory given to `client::Shims`:
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `<run>/<id>/config.json` | client | the OCI runtime spec (the directory is the bundle) |
//! | `<run>/<id>/shim.json` | client | which runtime, where the log goes, rotation |
//! | `<run>/<id>/shim.sock` | client | where the shim takes `state`, `signal` and `wait` requests |
//! | `<run>/<id>/started.json` | shim | the shim's and the container's pid, and when it started |
//! | `<run>/<id>/exit.json` | shim | how it ended; written once, atomically |
//! | `<run>/<id>/error` | shim | why it could not be created, for people |
//! | `<run>/.oci/<id>/` | OCI runtime | its own state |
//!
//! Logs go to `<log_dir>/<id>/json.log` (and `.1`, `.2`, ... when rotated) and stay until removed.

pub mod api;
pub mod client;
pub mod host;
mod layout;
pub mod runtimes;
pub mod shim;
pub mod signal;
pub mod spec;
