//! The `wharf-controller` command.

use anyhow::Context;
use clap::Parser;
use std::{
    io::{IsTerminal, stderr, stdout},
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use wharf_controller::{Cli, Controller, ControllerError, Ended, recover, settings::Settings};

fn main() -> ExitCode {
    let Err(error) = command() else { return ExitCode::SUCCESS };
    eprintln!("Error: {}", explain(&error));
    ExitCode::from(error.downcast_ref().map_or(1, ControllerError::exit_code))
}

/// An error and its causes, but those that it names itself.
fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn command() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).with_context(|| format!("--log {}", cli.log))?;
    let colours = stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(stderr).init();
    // Two threads are enough: the replica and its disk have their own, and decisions go to the blocking pool.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    if let Some((data_dir, yes)) = cli.recovery() {
        return Ok(runtime.block_on(recover::run(&data_dir, yes, &mut stdout()))?);
    }
    let settings = cli.settings()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        Ok(run(settings, stop).await?)
    })
}

/// Runs the controller until `stop`; a second one when its data directory has come to hold another cluster.
async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), ControllerError> {
    tokio::pin!(stop);
    loop {
        let controller = tokio::select! {
            started = Controller::start(settings.clone()) => started?,
            // Joining may wait for ever.
            () = &mut stop => return Ok(()),
        };
        match controller.run_until(&mut stop).await? {
            Ended::Stopped => return Ok(()),
            Ended::Succeeded => tracing::info!("starting again as the restored cluster's controller"),
        }
    }
}
