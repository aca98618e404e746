//! The command line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use wharf_identity::JoinToken;

use crate::network::address::Subnet;

/// Runs this machine's share of a Wharf cluster: its containers.
///
/// The first time, it joins a cluster: print the command's token with `wharf token show --role agent`, then
///
///   wharf-agent --join CONTROLLER:7400 --token-file token
///
/// From then on the identity in --data-dir is used, and no token is needed. The agent dials the controllers;
/// nothing dials the agent. It must run as root. Stopping it (SIGTERM) or killing it leaves containers running;
/// the next agent on the same directories finds them again.
#[derive(Debug, Parser)]
#[command(name = "wharf-agent", version, verbatim_doc_comment)]
pub struct Cli {
    /// Controllers to join or to find the cluster by, as HOST:PORT
    #[arg(long, env = "WHARF_JOIN", value_delimiter = ',', value_name = "HOST:PORT")]
    pub join: Vec<String>,

    /// Join token; better given as WHARF_TOKEN or --token-file, as arguments can be seen by every user
    #[arg(long, env = "WHARF_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    pub token: Option<String>,

    /// File that holds the join token
    #[arg(long, env = "WHARF_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Identity, images, volumes, logs and the agent's own database
    #[arg(
        long,
        global = true,
        env = "WHARF_DATA_DIR",
        default_value = "/var/lib/wharf/agent",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// What belongs to running containers; must not outlive a restart of the machine
    #[arg(
        long,
        global = true,
        env = "WHARF_RUN_DIR",
        default_value = "/run/wharf/agent",
        value_name = "DIR"
    )]
    pub run_dir: PathBuf,

    /// The node's name; the host name if not given
    #[arg(long, env = "WHARF_NAME")]
    pub name: Option<String>,

    /// Address that other nodes reach this one at; found out if not given
    #[arg(long, env = "WHARF_ADVERTISE", value_name = "IP")]
    pub advertise: Option<IpAddr>,

    /// Label of the machine (engine.labels.KEY in placement constraints); can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,

    /// Another OCI runtime that services may ask for, such as runc=/usr/sbin/runc; can be repeated
    #[arg(long = "runtime", value_name = "NAME=/PATH")]
    pub runtimes: Vec<String>,

    /// Runtime of services that ask for none: `wharf` (built in) or one given with --runtime
    #[arg(long, value_name = "NAME")]
    pub default_runtime: Option<String>,

    /// Registry that is spoken to in plain HTTP, besides those on loopback; can be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub registry_plain_http: Vec<String>,

    /// PEM file of certificates that registries are trusted by, besides the cluster's and the system's; can be repeated
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Vec<PathBuf>,

    /// Subnet of the node's bridge, of at most 29 bits; a free one is chosen if not given
    #[arg(long, env = "WHARF_BRIDGE_SUBNET", value_name = "ADDRESS/BITS")]
    pub bridge_subnet: Option<Subnet>,

    /// Name of the node's bridge, and of its packet filter table
    #[arg(long, global = true, env = "WHARF_BRIDGE", default_value = "wharf0", value_name = "NAME", value_parser = link_name)]
    pub bridge: String,

    /// What to log: error, warn, info, debug, trace, or a filter such as info,wharf_agent=debug
    #[arg(long, env = "WHARF_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// The program wharf-shim; the one beside this program if not given
    #[arg(long, global = true, value_name = "PATH")]
    pub shim: Option<PathBuf>,

    /// Something else than running the agent
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of running the agent.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stop this node's containers and remove everything that is the agent's, images, volumes and identity included
    ///
    /// The agent must not be running. Remove the node from the cluster with `wharf node rm`.
    Reset {
        /// Yes, volumes too
        #[arg(long, required = true)]
        yes: bool,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn link_name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.len() <= 15 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(legal) {
        Ok(text.to_owned())
    } else {
        Err("it takes up to 15 letters, digits, '-' and '_', and begins with a letter".to_owned())
    }
}

impl Cli {
    /// The join token, if one is given.
    ///
    /// # Errors
    /// When its file can't be read, or it is no token.
    pub fn join_token(&self) -> Result<Option<JoinToken>> {
        let text = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .with_context(|| format!("can't read the token in {}", path.display()))?,
            (None, None) => return Ok(None),
        };
        Ok(Some(text.trim().parse::<JoinToken>().context("the join token can't be used")?))
    }

    /// What people call the node.
    ///
    /// # Errors
    /// When no name is given and the machine has none.
    pub fn node_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = nix::unistd::gethostname().context("can't read this machine's host name: give --name")?;
        match name.to_str() {
            Some(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => bail!("this machine's host name can't be used: give --name"),
        }
    }

    /// The machine's labels.
    pub fn label_map(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }

    /// The program of the shims.
    ///
    /// # Errors
    /// When it is not where it should be.
    pub fn shim_program(&self) -> Result<PathBuf> {
        let path = match &self.shim {
            Some(path) => path.clone(),
            None => std::env::current_exe().context("can't find this program")?.with_file_name("wharf-shim"),
        };
        if !path.is_file() {
            bail!(
                "there is no shim at {}: put wharf-shim there, or give its place with --shim",
                path.display()
            );
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["wharf-agent", "--join", "a:1,b:2", "--label", "disk=ssd"]).unwrap();
        assert_eq!(cli.join, ["a:1", "b:2"]);
        assert_eq!(cli.label_map()["disk"], "ssd");
        for wrong in [["--label", "disk"], ["--bridge", "0x"], ["--bridge-subnet", "10.0.0.0"]] {
            assert!(Cli::try_parse_from(["wharf-agent", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
        }
    }
}
