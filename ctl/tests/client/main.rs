//! `wharf` itself, against a controller of the test's own: the generated service over real TLS.

mod applying;
mod calls;
mod contexts;
mod lists;
mod logs;
mod support;
