//! The command line: what can be said, with help that teaches.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Runs services on a Wharf cluster: declare them in a Compose file, apply it, watch it.
///
///   wharf apply -f stack.yaml        shows what would change and where each task would go, asks, and waits
///   wharf get tasks -w               what runs where, live
///   wharf scale shop/web=20          more of it
///   wharf logs -f shop/web           what all its tasks say
///
/// Services are named STACK/SERVICE, tasks STACK/SERVICE.SLOT. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no
/// controller reachable, 4 not found, 5 somebody else changed it meanwhile.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, verbatim_doc_comment, propagate_version = true)]
pub struct Cli {
    /// The cluster to speak to; else the current context (wharf context use)
    #[arg(long, global = true, env = "WHARF_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Controllers to speak to instead of the context's
    #[arg(long, global = true, env = "WHARF_CONTROLLERS", value_delimiter = ',', value_name = "HOST:PORT")]
    pub controller: Vec<String>,
    /// How long one call may take, tries at other controllers included
    #[arg(long, global = true, default_value = "20s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
    #[command(subcommand)]
    pub command: Command,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a stack what its Compose file says
    Apply(Apply),
    /// Show what apply would do, and do nothing
    Plan(Files),
    /// Print the Compose model as it is understood: merged, interpolated, in canonical form
    Config(Config),
    /// List stacks, services, tasks, nodes, controllers, events or images
    Get(Get),
    /// Tell all about one stack, service, task, node or controller
    Describe(Named),
    /// Set the number of replicas: wharf scale shop/web=20
    Scale(Scale),
    /// Remove a stack, a service or a node
    Rm(Rm),
    /// Follow, list, undo or repeat a service's updates
    #[command(subcommand)]
    Rollout(Rollout),
    /// Print what a service's tasks, or one task, have said
    Logs(Logs),
    /// Cordon, drain, activate, label or remove nodes
    #[command(subcommand)]
    Node(Node),
    /// List or remove controllers, or hand leadership over
    #[command(subcommand)]
    Controller(Controller),
    /// Show or replace the tokens that machines join with
    #[command(subcommand)]
    Token(Token),
    /// Import, push, pull or list images
    #[command(subcommand)]
    Image(Image),
    /// Which clusters this user knows
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print what happened lately
    Events(Events),
    /// Print a completion script: wharf completion bash > /etc/bash_completion.d/wharf
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

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
    /// How long to wait until everything runs
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub wait: Duration,
}

#[derive(Debug, Args)]
pub struct Config {
    #[command(flatten)]
    pub files: Files,
    /// Form of the output
    #[arg(short, long, default_value = "yaml")]
    pub output: ConfigFormat,
    /// Only the services' names
    #[arg(long)]
    pub services: bool,
    /// Only say what is wrong
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ConfigFormat {
    Yaml,
    Json,
}

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For people with wide screens
    Wide,
    /// One JSON array
    Json,
    /// YAML
    Yaml,
    /// Names only
    Name,
}

/// Kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    #[value(name = "stacks", alias = "stack")]
    Stacks,
    #[value(name = "services", aliases = ["service", "svc"])]
    Services,
    #[value(name = "tasks", aliases = ["task", "ps"])]
    Tasks,
    #[value(name = "nodes", aliases = ["node", "no"])]
    Nodes,
    #[value(name = "controllers", aliases = ["controller", "ctl"])]
    Controllers,
    #[value(name = "events", aliases = ["event", "ev"])]
    Events,
    #[value(name = "images", alias = "image")]
    Images,
}

#[derive(Debug, Args)]
pub struct Get {
    /// What to list
    pub kind: Kind,
    /// Only these
    pub names: Vec<String>,
    /// Form of the list
    #[arg(short, long, default_value = "table")]
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
pub struct Named {
    /// Kind of thing
    pub kind: Kind,
    /// Its name
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// STACK/SERVICE=NUMBER
    #[arg(required = true, value_name = "STACK/SERVICE=N")]
    pub targets: Vec<String>,
    /// Don't wait
    #[arg(short, long)]
    pub detach: bool,
    /// How long to wait
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub wait: Duration,
}

#[derive(Debug, Args)]
pub struct Rm {
    /// stack, service or node
    pub kind: Kind,
    /// Names
    #[arg(required = true)]
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
        service: String,
        /// Say how it is now, and stop
        #[arg(long)]
        now: bool,
    },
    /// List a service's versions
    History { service: String },
    /// Go back to an older version
    Undo {
        service: String,
        /// The version; the one before if not given
        #[arg(long)]
        to: Option<u64>,
        #[arg(short, long)]
        detach: bool,
    },
    /// Replace all tasks, though nothing changed
    Restart {
        service: String,
        #[arg(short, long)]
        detach: bool,
    },
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Service or task
    pub target: String,
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines from the end, of each task
    #[arg(long, short = 'n')]
    pub tail: Option<u64>,
    /// Only since then: 10m, or 2026-01-31T12:00:00Z
    #[arg(long)]
    pub since: Option<String>,
    /// Only until then
    #[arg(long)]
    pub until: Option<String>,
    /// Show each line's time
    #[arg(short, long)]
    pub timestamps: bool,
}

#[derive(Debug, Subcommand)]
pub enum Node {
    /// List nodes
    Ls,
    /// Give a node no new tasks
    Cordon { node: String },
    /// Move a node's tasks away, and wait until it is empty
    Drain {
        node: String,
        #[arg(short, long)]
        detach: bool,
    },
    /// Give a node tasks again
    Activate { node: String },
    /// Set labels (KEY=VALUE) or remove them (KEY-)
    Label {
        node: String,
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        labels: Vec<String>,
    },
    /// Forget a node
    Rm {
        node: String,
        /// Also if it is ready
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Controller {
    /// List controllers
    Ls,
    /// Take a controller out of the cluster
    Rm { controller: String },
    /// Make a controller the leader
    Transfer { controller: String },
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
        #[arg(long)]
        role: TokenRole,
    },
    /// Replace the token, and print the new one; who has joined stays
    Rotate {
        #[arg(long)]
        role: TokenRole,
        /// How long the new one is taken; until the next rotation if not given
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
}

/// How to speak to a registry.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// Speak plain HTTP to the registry
    #[arg(long)]
    pub plain_http: bool,
    /// user:password (better in WHARF_REGISTRY_AUTH than here, where every user sees it)
    #[arg(long, env = "WHARF_REGISTRY_AUTH", hide_env_values = true)]
    pub auth: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make an image of a root file system (tar or folder) and push it
    Import(Import),
    /// Push an OCI image that `pull` or `import --keep` left in a folder
    Push {
        name: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Pull an image into this user's store
    Pull {
        name: String,
        #[arg(long)]
        platform: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List the images of a registry
    Ls {
        /// HOST:PORT; the context's if not given
        #[arg(long)]
        registry: Option<String>,
        #[arg(long)]
        plain_http: bool,
        #[arg(short, long, default_value = "table")]
        output: Format,
    },
}

#[derive(Debug, Args)]
pub struct Import {
    /// Tar archive, or folder
    pub source: PathBuf,
    /// Name of the image: HOST:PORT/NAME:TAG
    pub name: String,
    /// First words of the command, split at spaces
    #[arg(long)]
    pub entrypoint: Option<String>,
    /// Command, split at spaces
    #[arg(long)]
    pub cmd: Option<String>,
    /// NAME=VALUE
    #[arg(long, short)]
    pub env: Vec<String>,
    #[arg(long)]
    pub user: Option<String>,
    #[arg(long)]
    pub workdir: Option<String>,
    /// KEY=VALUE
    #[arg(long, short)]
    pub label: Vec<String>,
    /// OS/ARCHITECTURE; this machine's if not given
    #[arg(long)]
    pub platform: Option<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts
    Ls,
    /// Make a context the current one
    Use { name: String },
    /// Show a context, without its key
    Show { name: Option<String> },
    /// Add the file that wharf-controller --bootstrap wrote
    Add {
        file: PathBuf,
        /// Name to keep it under, instead of the file's
        #[arg(long)]
        name: Option<String>,
        /// Make it the current one
        #[arg(long = "use")]
        make_current: bool,
    },
    /// Change a context's registry or controllers
    Set {
        name: String,
        #[arg(long, value_name = "HOST:PORT")]
        registry: Option<String>,
        #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
        addresses: Vec<String>,
    },
    /// Forget a context
    Rm {
        name: String,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct Events {
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    #[arg(short, long, default_value = "table")]
    pub output: Format,
}
