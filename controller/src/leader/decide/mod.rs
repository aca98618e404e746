//! What a leader decides, without a clock, threads or a network: time and the state are handed in, commands and
//! messages come out. The controller's loops drive it, and so does a simulation, which runs the very same code.
//!
//! Each is made anew when a leadership begins. Its host hands in every event that is applied, or says that anything may
//! have changed; proposes the commands that it gets; and goes on once they are applied.

mod clock;
pub mod dispatch;
mod orchestrating;
mod scheduling;

pub use clock::LeaderClock;
pub use orchestrating::Orchestrating;
pub use scheduling::Scheduling;
