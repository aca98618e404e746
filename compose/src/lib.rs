//! Reads Compose-specification files: YAML in, a checked [`Project`] out, or diagnostics that name file,
//! line and column.
//!
//! Pure: files are read through [`FileSource`], the environment is a map, and nothing depends on time.
//!
//! ```
//! use std::path::Path;
//! use wharf_compose::{LoadInput, load, to_yaml};
//!
//! let text = "name: shop\nservices:\n  web: {image: 'nginx:${TAG:-1.27}', deploy: {replicas: 3}}\n";
//! let files = |_: &Path| Ok(text.as_bytes().to_vec());
//! let input = LoadInput {
//!     files: vec!["compose.yaml".into()],
//!     working_dir: "/srv/shop".into(),
//!     env_files: Some(Vec::new()),
//!     ..LoadInput::default()
//! };
//! let loaded = load(&input, &files)?;
//! assert_eq!(loaded.project.services["web"].image, "nginx:1.27");
//! assert!(to_yaml(&loaded.project)?.contains("replicas: 3"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
