//! Reads Compose-specification files: YAML in, a checked [`Project`] out, or diagnostics that name file,
//! line and column.
//!
//! Pure: files are read through [`FileSource`], the environment is a map, and nothing depends on time.

mod canonical;
mod diagnostic;
mod env_file;
mod extends;
mod include;
mod interpolate;
mod load;
mod merge;
mod model;
mod name;
mod normalise;
mod parse;
mod paths;
mod report;
mod schema;
mod session;
mod stack;
mod tree;
pub mod units;

pub use canonical::{PrintError, to_json, to_yaml};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use load::{DEFAULT_FILE_NAMES, FileSource, LoadInput, Loaded, load};
pub use model::*;
