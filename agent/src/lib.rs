//! The node agent: dials the controllers, holds what it is assigned, and tells how it goes.
//!
//! * [`session`]: the one session with the leading controller
//! * [`worker`]: makes the node hold its assignment, step by step as [`plan`] says
//! * [`spec`]: from a task and an image to a container
//! * [`network`]: the seam where tasks get their network; today a bridge of the node
//! * [`images`]: the seam to the image store; [`health`]: health checks; [`logs`]: tasks' output
//! * [`store`]: what outlives the agent's process; [`reports`]: what the controller has still to be told
//! * [`node`]: puts it all together; [`reset`]: takes it all away; [`cli`], [`describe`], [`membership`]

pub mod cli;
pub mod describe;
pub mod health;
pub mod images;
pub mod logs;
pub mod membership;
pub mod network;
pub mod node;
pub mod plan;
pub mod reports;
pub mod reset;
pub mod session;
pub mod spec;
pub mod store;
pub mod task;
pub mod worker;
