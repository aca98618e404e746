//! The whole control plane in one thread, without a clock: the real raft core, state machine, leader's decisions and
//! agent's planner, on simulated disks, networks and containers, with faults drawn from a seed. The same seed gives the
//! same run, event for event.
//!
//! * [`run`]: one run from its beginning to its end; [`checks`]: what must hold at every step; [`settled`]: how it ends
//! * [`world`]: the machines and what will happen; [`queue`], [`time`], [`rng`], [`trace`], [`stats`], [`options`], [`setup`]
//! * [`net`], [`stream`], [`disk`], [`agent_disk`]: what things are lost on
//! * [`controller`], [`machine`], [`calls`], [`leader`]: a controller; [`node`], [`runner`], [`session`]: an agent
//! * [`client`], [`load`]: what is wanted; [`faults`]: what goes wrong

pub mod agent_disk;
pub mod calls;
pub mod checks;
pub mod client;
pub mod controller;
pub mod disk;
pub mod faults;
pub mod leader;
pub mod load;
pub mod machine;
pub mod net;
pub mod node;
pub mod options;
pub mod queue;
pub mod rng;
pub mod run;
pub mod runner;
pub mod session;
pub mod settled;
pub mod setup;
pub mod stats;
pub mod stream;
pub mod time;
pub mod trace;
pub mod world;
