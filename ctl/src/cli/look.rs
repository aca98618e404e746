//! Arguments of the verbs that only look.

use super::{Format, Kind};
use clap::Args;

#[derive(Debug, Args)]
pub struct Get {
    /// What to list
    pub kind: Kind,
    /// Only these
    pub names: Vec<String>,
    /// Form of the list
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
    /// Go on with every change
    #[arg(short, long)]
    pub watch: bool,
    /// Tasks: also those that have ended
    #[arg(short, long)]
    pub all: bool,
    /// Only of this stack
    #[arg(long)]
    pub stack: Option<String>,
    /// Only of this service
    #[arg(long)]
    pub service: Option<String>,
    /// Only on this node
    #[arg(long)]
    pub node: Option<String>,
    /// Take what the controller at hand knows, which may be old
    #[arg(long)]
    pub stale: bool,
}

#[derive(Debug, Args)]
pub struct Describe {
    /// Kind of thing
    pub kind: Kind,
    /// Its name or id
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Service or task
    #[arg(value_name = "SERVICE|TASK")]
    pub target: String,
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines from the end, of each task
    #[arg(long, short = 'n', value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only since then: 10m, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Show each line's time
    #[arg(short, long)]
    pub timestamps: bool,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Only of this stack
    #[arg(long)]
    pub stack: Option<String>,
    /// Form of the list
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
}
