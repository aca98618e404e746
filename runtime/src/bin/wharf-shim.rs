//! The shim: see `wharf_runtime::shim`.
fn main() {}
