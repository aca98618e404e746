//! The state as clients are shown it.

mod controller;
mod event;
mod node;
mod service;
mod stack;
mod task;

pub use controller::controllers;
pub use event::event;
pub use node::node;
pub use service::service;
pub use stack::stack;
pub use task::task;
