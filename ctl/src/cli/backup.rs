//! Arguments of the verbs that save a cluster's state and bring it back.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write, or - for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Check a backup instead of taking one, and print what it is; needs no cluster
    #[arg(long, conflicts_with = "force")]
    pub inspect: bool,
    /// With --inspect: form of the output
    #[arg(short, long, default_value = "table", value_name = "FORMAT", requires = "inspect")]
    pub output: InspectFormat,
    /// Replace the file though it is not a backup
    #[arg(long)]
    pub force: bool,
}

/// Form of what --inspect prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    /// For people
    Table,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
}
