//! Arguments of the verbs about nodes, controllers, tokens and contexts.

use super::Format;
use clap::{Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Subcommand)]
pub enum Node {
    /// List nodes
    Ls {
        /// Form of the list
        #[arg(short, long, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Give a node no new tasks
    Cordon { node: String },
    /// Move a node's tasks away, and wait until it is empty
    Drain {
        /// The node, by name or id
        node: String,
        /// Don't wait
        #[arg(short, long)]
        detach: bool,
    },
    /// Give a node tasks again
    Activate { node: String },
    /// Say that nodes are lost, so that their tasks are replaced elsewhere at once
    ///
    /// A node that misses several heartbeats is given up by itself. Only when more than a third of the nodes vanish at
    /// once the cluster waits: rather the network or the power failed than each of them, and what they run may go on.
    /// They are shown as "unknown" then, their tasks stay, and nothing is moved until they come back, until nothing has
    /// changed for two minutes (wharf-controller --mass-loss-hold), or until you say which of them are lost.
    ///
    /// Make sure that they are: what still runs on a node that is cut off would run twice, until it is connected again.
    /// A node that answers is refused. One that comes back is ready again, and stops what was replaced.
    Down {
        /// The nodes, by name or id
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Set labels (KEY=VALUE) or remove them (KEY-)
    Label {
        /// The node, by name or id
        node: String,
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        labels: Vec<String>,
    },
    /// Forget a node
    Rm {
        /// The node, by name or id
        node: String,
        /// Also if it is ready
        #[arg(long)]
        force: bool,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Controller {
    /// List controllers
    Ls {
        /// Form of the list
        #[arg(short, long, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Take a controller out of the cluster for good
    ///
    /// The others go on without it; a leader hands its leadership over first. Refused if those that answer would be no
    /// majority. Its program stops by itself; to have it back, empty its data directory and join again.
    #[command(after_help = "\
Examples:
  wharf controller rm c3
  wharf controller rm c3 --force    c3's machine is gone: nothing can tell it")]
    Rm {
        /// The controller, by name or id
        controller: String,
        /// Also if it doesn't answer, because it is gone for good
        #[arg(long)]
        force: bool,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Let a controller vote again, once it has caught up
    Promote {
        /// The controller, by name or id
        controller: String,
    },
    /// Have a controller vote no longer: it keeps a copy of everything, and serves
    ///
    /// A leader hands its leadership over first. Refused if those that answer would be no majority without it.
    Demote {
        /// The controller, by name or id
        controller: String,
    },
    /// Make a controller the leader
    #[command(alias = "transfer")]
    TransferLeader {
        /// The controller, by name or id; one that votes
        controller: String,
    },
}

/// What a token lets a machine join as.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum TokenRole {
    Agent,
    Controller,
    Registry,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Print the token
    Show {
        /// What it lets a machine join as
        #[arg(long)]
        role: TokenRole,
    },
    /// Replace the token, and print the new one; who has joined stays
    Rotate {
        /// What it lets a machine join as
        #[arg(long)]
        role: TokenRole,
        /// How long the new one is taken; until the next rotation if not given
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts
    Ls {
        /// Form of the list
        #[arg(short, long, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Make a context the current one
    Use { name: String },
    /// Show a context, without its key
    Show { name: Option<String> },
    /// Add the file that wharf-controller --bootstrap wrote
    Add {
        /// The file
        file: PathBuf,
        /// Name to keep it under, instead of the file's
        #[arg(long)]
        name: Option<String>,
        /// Make it the current one
        #[arg(long = "use")]
        make_current: bool,
        /// Replace a context of this name that is of another cluster
        #[arg(long)]
        force: bool,
    },
    /// Change a context's registry or controllers
    Set {
        /// The context
        name: String,
        /// Where `wharf image` and names without a host go
        #[arg(long, value_name = "HOST:PORT")]
        registry: Option<String>,
        /// The controllers; learned anew whenever one of them answers
        #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
        addresses: Vec<String>,
    },
    /// Forget a context
    Rm {
        /// The context
        name: String,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
}
