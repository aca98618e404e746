//! The `wharf` program against controllers that do as a test tells them.

mod apply;
mod calls;
mod cluster;
mod controller;
mod lists;
