//! The shim: one small, single-threaded process per container. It runs the OCI runtime, holds the
//! container's output and writes it to the log, records how the container ended, answers on a
//! socket, and ends after the container. It does not depend on the agent in any way.

mod console;
mod devices;
mod embedded;
mod exec;
mod executor;
mod external;
mod log;
mod process;
mod report;
mod run;
mod seccomp;
mod serve;
mod supervise;

pub use exec::exec;
pub use run::run;
pub use seccomp::compile;
