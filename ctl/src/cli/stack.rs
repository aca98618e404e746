//! Arguments of the verbs that change stacks and services.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

use super::Format;

/// Compose files.
#[derive(Debug, Args)]
pub struct Files {
    /// Compose file; several are merged, later ones win; - is standard input
    #[arg(short, long = "file", value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The stack's name, instead of the file's
    #[arg(short = 'p', long = "project-name", value_name = "NAME")]
    pub project_name: Option<String>,
    /// File of variables, instead of .env
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    pub files: Files,
    /// Show what would be done, and stop
    #[arg(long)]
    pub plan: bool,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
    /// Don't wait until everything runs
    #[arg(short, long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub files: Files,
    /// Form of the output
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Args)]
pub struct Config {
    #[command(flatten)]
    pub files: Files,
    /// Form of the output
    #[arg(short, long, default_value = "yaml", value_name = "FORMAT")]
    pub output: ConfigFormat,
    /// Only the services' names
    #[arg(long)]
    pub services: bool,
    /// Only say what is wrong
    #[arg(short, long)]
    pub quiet: bool,
}

/// Form of a printed project.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ConfigFormat {
    Yaml,
    Json,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// Service and its number of replicas
    #[arg(required = true, value_name = "SERVICE=N")]
    pub targets: Vec<String>,
    /// Don't wait
    #[arg(short, long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub struct Rm {
    /// Names, after the kind of thing: stack, service or node; without it, SHOP is a stack and SHOP/WEB a service
    #[arg(required = true, value_name = "[KIND] NAME")]
    pub names: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
    /// Don't wait
    #[arg(short, long)]
    pub detach: bool,
    /// A node: also if it is ready
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Follow the update of a service until it is over
    Status {
        /// The service, STACK/SERVICE
        service: String,
        /// Say how it is now, and stop
        #[arg(long)]
        now: bool,
    },
    /// List a service's versions
    History {
        /// The service, STACK/SERVICE
        service: String,
        /// Form of the list
        #[arg(short, long, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Go back to an older version
    Undo {
        /// The service, STACK/SERVICE
        service: String,
        /// The version; the one before if not given
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        /// Don't wait
        #[arg(short, long)]
        detach: bool,
    },
    /// Replace all tasks, though nothing changed
    Restart {
        /// The service, STACK/SERVICE
        service: String,
        /// Don't wait
        #[arg(short, long)]
        detach: bool,
    },
}
