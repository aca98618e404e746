//! The command line: what can be said, with help that teaches.

mod backup;
mod cluster;
mod image;
mod look;
mod stack;

pub use backup::{Backup, InspectFormat, Restore};
pub use cluster::{ContextCommand, Controller, Node, Token, TokenRole};
pub use image::{Image, Import, ListImages, RegistryArgs};
pub use look::{Describe, Events, Get, Logs};
pub use stack::{Apply, Config, ConfigFormat, Files, Plan, Rm, Rollout, Scale};

use clap::{Parser, Subcommand, ValueEnum};
use std::time::Duration;

/// How long one call may take if nothing else is said.
const CALL: Duration = Duration::from_secs(20);
/// How long waiting for tasks may take if nothing else is said.
const WAIT: Duration = Duration::from_secs(600);

/// Runs services on a Wharf cluster: declare them in a Compose file, apply it, watch it.
///
///   wharf apply -f stack.yaml        shows what would change and where each task would go, asks, and waits
///   wharf get tasks -w               what runs where, live
///   wharf scale shop/web=20          more of it
///   wharf logs -f shop/web           what all its tasks say
///
/// Services are named STACK/SERVICE, tasks STACK/SERVICE.SLOT; the stack can be left out where one has it alone.
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no controller reachable, 4 not found, 5 changed meanwhile.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, verbatim_doc_comment)]
pub struct Cli {
    /// The cluster to speak to; else the current context (wharf context use)
    #[arg(long, global = true, env = "WHARF_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Controllers to speak to instead of the context's
    #[arg(
        id = "ask",
        long = "controller",
        global = true,
        env = "WHARF_CONTROLLERS",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub controller: Vec<String>,
    /// How long to try and to wait [a call: 20s, until tasks run or are gone: 10m]
    #[arg(long, global = true, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// How long one call may take, tries at other controllers included.
    pub fn call_timeout(&self) -> Duration {
        self.timeout.unwrap_or(CALL)
    }

    /// How long waiting for tasks may take.
    pub fn wait_timeout(&self) -> Duration {
        self.timeout.unwrap_or(WAIT)
    }
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a stack what its Compose file says
    #[command(after_help = "\
Examples:
  wharf apply -f stack.yaml
  wharf apply -f stack.yaml -f production.yaml -p shop --yes
  wharf apply -f - --yes --detach < stack.yaml")]
    Apply(Apply),
    /// Show what apply would do, and do nothing
    #[command(after_help = "\
Examples:
  wharf plan -f stack.yaml
  wharf plan -f stack.yaml -o json")]
    Plan(Plan),
    /// Print the Compose model as it is understood: merged, interpolated, in canonical form
    #[command(after_help = "\
Examples:
  wharf config -f stack.yaml
  wharf config -f stack.yaml --services
  wharf config -f stack.yaml --quiet && echo good")]
    Config(Config),
    /// List stacks, services, tasks, nodes, controllers, events or images
    #[command(after_help = "\
Examples:
  wharf get tasks -w
  wharf get tasks --service shop/web --all -o wide
  wharf get services shop/web shop/db -o json
  wharf get nodes")]
    Get(Get),
    /// Tell all about one stack, service, task, node or controller
    #[command(after_help = "\
Examples:
  wharf describe service shop/web
  wharf describe task web.3
  wharf describe node a1")]
    Describe(Describe),
    /// Set numbers of replicas
    #[command(after_help = "\
Examples:
  wharf scale shop/web=20
  wharf scale web=3 db=1 --detach")]
    Scale(Scale),
    /// Remove stacks, services or nodes
    #[command(after_help = "\
Examples:
  wharf rm stack shop
  wharf rm shop                   the same
  wharf rm service shop/web --yes
  wharf rm shop/web --yes         the same
  wharf rm node a3 --force")]
    Rm(Rm),
    /// Follow, list, undo or repeat a service's updates
    #[command(
        subcommand,
        after_help = "\
Examples:
  wharf rollout status shop/web
  wharf rollout undo shop/web --to 3"
    )]
    Rollout(Rollout),
    /// Print what a service's tasks, or one task, have said
    #[command(after_help = "\
Examples:
  wharf logs shop/web
  wharf logs -f --tail 10 -t shop/web.3
  wharf logs --since 10m web")]
    Logs(Logs),
    /// Cordon, drain, activate, label, list or remove nodes
    #[command(
        subcommand,
        after_help = "\
Examples:
  wharf node drain a1
  wharf node label a1 disk=ssd zone-"
    )]
    Node(Node),
    /// List, remove, promote or demote controllers, or hand leadership over
    ///
    /// A majority of those that vote has to be up for anything to change: with 3 that vote one may be down, with 5 two.
    /// One that was demoted keeps a copy and serves, but counts in no majority.
    #[command(
        subcommand,
        after_help = "\
Examples:
  wharf controller ls
  wharf controller transfer-leader c2
  wharf controller demote c1        before work on its machine; promote it afterwards
  wharf controller rm c3            for good"
    )]
    Controller(Controller),
    /// Save the cluster's whole state to a file, while it runs
    #[command(after_help = "\
The file holds the key of the cluster's authority: whoever has it can command the cluster.

Examples:
  wharf backup wharf-monday.bak
  wharf backup - | gpg --encrypt -r ops > wharf.bak.gpg
  wharf backup --inspect wharf-monday.bak")]
    Backup(Backup),
    /// Bring a saved state back, in the place of a new cluster
    #[command(after_help = "\
The context must be of a new cluster: one controller, no nodes, no stacks. Its place is taken by the saved cluster, and
the context's by that one's. Agents come back by themselves to an address that they know; else start them with --join.
Without any running cluster: wharf-controller --restore FILE. Step by step: docs/disaster.md

Examples:
  wharf-controller --bootstrap --advertise 10.0.0.1:7400       on the controller's machine
  wharf context add admin.json --name home --use
  wharf restore wharf-monday.bak
  wharf get nodes")]
    Restore(Restore),
    /// Show or replace the tokens that machines join with
    #[command(
        subcommand,
        after_help = "\
Examples:
  wharf token show --role agent
  wharf token rotate --role controller --ttl 1h"
    )]
    Token(Token),
    /// Import, push, pull, list or remove images
    #[command(
        subcommand,
        after_help = "\
Examples:
  wharf image import rootfs.tar 10.0.0.20:5000/base:1 --cmd '/bin/sh'
  wharf image pull nginx:1.27
  wharf image push nginx:1.27 10.0.0.20:5000/nginx:1.27
  wharf image ls"
    )]
    Image(Image),
    /// Which clusters this user knows
    #[command(
        subcommand,
        after_help = "\
Examples:
  wharf context add /var/lib/wharf/admin.json --name home --use
  wharf context set home --addresses 10.0.0.11:7400,10.0.0.12:7400 --registry 10.0.0.20:5000"
    )]
    Context(ContextCommand),
    /// Print what happened lately
    #[command(after_help = "Example:\n  wharf events -f --stack shop")]
    Events(Events),
    /// Print a completion script
    #[command(after_help = "\
Examples:
  wharf completion bash > /etc/bash_completion.d/wharf
  wharf completion zsh > ~/.zfunc/_wharf")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print this program's version
    Version,
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
    #[value(name = "stacks", aliases = ["stack", "st"])]
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
    #[value(name = "images", aliases = ["image", "img"])]
    Images,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// clap gives a verb's argument to the global one of the same id as well.
    #[test]
    fn no_verb_has_an_argument_of_a_global_ones_id() {
        fn check(command: &clap::Command, globals: &[&clap::Id]) {
            for verb in command.get_subcommands() {
                for argument in verb.get_arguments() {
                    let (verb, id) = (verb.get_name(), argument.get_id());
                    assert!(!globals.contains(&id), "{verb}: {id} is global");
                }
                check(verb, globals);
            }
        }
        let command = Cli::command();
        let globals: Vec<&clap::Id> =
            command.get_arguments().filter(|one| one.is_global_set()).map(clap::Arg::get_id).collect();
        check(&command, &globals);
        let parsed = Cli::try_parse_from(["wharf", "controller", "rm", "c1"]).unwrap();
        assert_eq!(parsed.controller, [""; 0], "a controller's name is not an address to speak to");
    }

    #[test]
    fn one_timeout_serves_calls_and_waiting() {
        let parse = |args: &[&str]| Cli::try_parse_from(args).unwrap();
        let plain = parse(&["wharf", "get", "nodes"]);
        assert_eq!((plain.call_timeout(), plain.wait_timeout()), (CALL, WAIT));
        let given = parse(&["wharf", "scale", "a/b=1", "--timeout", "2m"]);
        assert_eq!(given.wait_timeout(), Duration::from_secs(120));
        assert_eq!(given.call_timeout(), given.wait_timeout());
    }

    #[test]
    fn kinds_have_short_names() {
        for (word, kind) in
            [("svc", Kind::Services), ("task", Kind::Tasks), ("ps", Kind::Tasks), ("no", Kind::Nodes)]
        {
            assert_eq!(Kind::from_str(word, false), Ok(kind));
        }
    }
}
