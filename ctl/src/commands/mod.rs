//! A file for each verb.

mod apply;
mod backup;
mod config;
mod confirm;
mod context;
mod controller;
mod describe;
mod events;
mod follow;
mod get;
mod image;
mod logs;
mod node;
mod plan;
mod project;
mod restore;
mod rm;
mod rollout;
mod scale;
mod token;

use crate::{
    cli::{Cli, Command},
    client::Client,
    failure::Result,
    output,
};
use clap::CommandFactory;
use confirm::confirm;
use std::{
    cell::OnceCell,
    io::{Write, stdout},
    time::Duration,
};

/// Does what was said.
///
/// # Errors
/// When it can't be done.
pub async fn run(cli: Cli) -> Result<()> {
    let (timeout, wait, said) = (cli.call_timeout(), cli.wait_timeout(), cli.timeout);
    let client = OnceCell::new();
    let open = || match client.get() {
        Some(client) => Ok(client),
        None => {
            let opened = Client::open(cli.context.as_deref(), &cli.controller, timeout)?;
            Ok(client.get_or_init(|| opened))
        }
    };
    let result = carry_out(cli.command, open, wait, said).await;
    if let Some(client) = client.get() {
        client.learned().await;
    }
    result
}

async fn carry_out<'a>(
    command: Command,
    open: impl Fn() -> Result<&'a Client>,
    wait: Duration,
    said: Option<Duration>,
) -> Result<()> {
    match command {
        Command::Apply(args) => apply::apply(open, args, wait).await,
        Command::Plan(args) => plan::plan(open, &args).await,
        Command::Config(args) => config::config(&args),
        Command::Get(args) => get::get(open()?, args).await,
        Command::Describe(args) => describe::describe(open()?, &args).await,
        Command::Scale(args) => scale::scale(open()?, args, wait).await,
        Command::Rm(args) => rm::rm(open()?, args, wait).await,
        Command::Rollout(what) => rollout::rollout(open()?, what, wait).await,
        Command::Logs(args) => logs::logs(open()?, args).await,
        Command::Node(what) => node::node(open()?, what, wait).await,
        Command::Controller(what) => controller::controller(open()?, what).await,
        Command::Backup(args) => backup::backup(open, args).await,
        Command::Restore(args) => restore::restore(open()?, args, said).await,
        Command::Token(what) => token::token(open()?, what).await,
        Command::Image(what) => image::image(open, what).await,
        Command::Context(what) => context::context(what).await,
        Command::Events(args) => events::events(open()?, args).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut script);
            Ok(stdout().lock().write_all(&script)?)
        }
        Command::Version => output::say(concat!("wharf ", env!("CARGO_PKG_VERSION"))),
    }
}
