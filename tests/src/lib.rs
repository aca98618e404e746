//! The harness of the tests on real clusters: real programs, each on a host of its own (a network namespace on a
//! switch that is one too), killed, paused, cut off and restarted. Needs root.
//!
//! The programs are those in `WHARF_BIN_DIR`, else beside the test's own build (`target/release` or `target/debug`).

mod cluster;
mod host;
mod hostile;
mod image;
pub mod linear;
mod look;
mod members;
mod partition;
mod process;
pub mod sim;
pub mod stack;
mod starve;
mod strace;
mod view;
mod wait;

pub use cluster::{Cluster, Options, programs};
pub use host::{Direction, Host, Switch};
pub use hostile::push_image_with_layer;
pub use image::{busybox_rootfs, import_busybox};
pub use process::Process;
pub use starve::Starved;
pub use strace::{Strace, Syscall};
pub use view::{ControllerView, EventView, NodeView, ServiceView, TaskView};
pub use wait::{wait_for, within};
