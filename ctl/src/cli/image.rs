//! Arguments of `wharf image`.

use super::Format;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// How to speak to a registry.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// Speak plain HTTP to the registry
    #[arg(long)]
    pub plain_http: bool,
    /// Who to be for the registry; its password is taken from WHARF_REGISTRY_PASSWORD
    #[arg(long, env = "WHARF_REGISTRY_USER", value_name = "NAME")]
    pub user_name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make an image of a root file system (tar or folder) and push it
    #[command(after_help = "\
Examples:
  wharf image import rootfs/ 10.0.0.20:5000/base:1 --cmd /bin/sh
  wharf image import app.tar.gz app:2 --entrypoint /app --env PORT=80 --user 1000")]
    Import(Box<Import>),
    /// Push an image that was pulled, under the same name or another one
    Push {
        /// Name of the pulled image
        name: String,
        /// Name to push it as
        target: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Pull an image into this user's store, to push it elsewhere
    Pull {
        /// Name of the image
        name: String,
        /// OS/ARCHITECTURE; this machine's if not given
        #[arg(long)]
        platform: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List the images of a registry
    Ls(ListImages),
    /// Remove an image from its registry, or with --local from this user's store
    Rm {
        /// Name of the image
        name: String,
        /// Only from this user's store
        #[arg(long)]
        local: bool,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

#[derive(Debug, Args)]
pub struct ListImages {
    /// HOST:PORT; the context's if not given
    #[arg(long, value_name = "HOST:PORT")]
    pub registry: Option<String>,
    /// Speak plain HTTP to the registry
    #[arg(long)]
    pub plain_http: bool,
    /// What was pulled into this user's store
    #[arg(long, conflicts_with = "registry")]
    pub local: bool,
    /// Form of the list
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Args)]
pub struct Import {
    /// Tar archive, or folder
    pub source: PathBuf,
    /// Name of the image: HOST:PORT/NAME:TAG; without a host, the context's registry
    pub name: String,
    /// First words of the command, split as by a shell
    #[arg(long, value_name = "WORDS")]
    pub entrypoint: Option<String>,
    /// Command, split as by a shell
    #[arg(long, value_name = "WORDS")]
    pub cmd: Option<String>,
    /// Environment variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// USER[:GROUP] that the command runs as
    #[arg(long)]
    pub user: Option<String>,
    /// Folder that the command runs in
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<String>,
    /// Label
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// OS/ARCHITECTURE; this machine's if not given
    #[arg(long)]
    pub platform: Option<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
}
