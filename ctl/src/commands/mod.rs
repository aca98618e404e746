//! A file for each verb.

mod apply;
mod config;
mod context;
mod controller;
mod describe;
mod events;
mod follow;
mod get;
mod image;
mod logs;
mod node;
mod project;
mod rm;
mod rollout;
mod scale;
mod token;

use crate::{
    cli::{Cli, Command},
    client::Client,
    failure::{Failure, Result},
};
use clap::CommandFactory;
use std::io::{IsTerminal, Write, stdin, stdout};

/// Does what was said.
///
/// # Errors
/// When it can't be done.
pub async fn run(cli: Cli) -> Result<()> {
    let open = || Client::open(cli.context.as_deref(), &cli.controller, cli.timeout);
    match cli.command {
        Command::Apply(args) => apply::apply(open, args).await,
        Command::Plan(files) => apply::plan(open, &files).await,
        Command::Config(args) => config::config(&args),
        Command::Get(args) => get::get(&open()?, args).await,
        Command::Describe(args) => describe::describe(&open()?, &args).await,
        Command::Scale(args) => scale::scale(&open()?, args).await,
        Command::Rm(args) => rm::rm(&open()?, args).await,
        Command::Rollout(what) => rollout::rollout(&open()?, what).await,
        Command::Logs(args) => logs::logs(&open()?, args).await,
        Command::Node(what) => node::node(&open()?, what).await,
        Command::Controller(what) => controller::controller(&open()?, what).await,
        Command::Token(what) => token::token(&open()?, what).await,
        Command::Image(what) => image::image(open, what).await,
        Command::Context(what) => context::context(what),
        Command::Events(args) => events::events(&open()?, args).await,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut stdout());
            Ok(())
        }
    }
}

/// Asks before something is done, unless `yes`. Without a terminal nobody can answer.
///
/// # Errors
/// When the answer is no, or nobody can answer.
fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to confirm this: say --yes"));
    }
    print!("{question} [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::failed("nothing was done"))
    }
}
