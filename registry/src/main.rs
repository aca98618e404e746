//! The `wharf-registry` command.

mod args;
mod certificate;
mod membership;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustls::ServerConfig;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wharf_registry::{Limits, Server, Settings, Storage};

use args::{Args, Command, GcArgs, ServeArgs};

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&args.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = match tokio::runtime::Runtime::new().context("starting the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let done = runtime.block_on(async {
        match args.command {
            Some(Command::Gc(gc)) => collect(gc).await,
            None => serve(args.serve).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("wharf-registry: {error:#}");
    ExitCode::FAILURE
}

async fn serve(args: ServeArgs) -> Result<()> {
    let mut signals = Signals::catch()?;
    let tls = tokio::select! {
        tls = tls(&args) => tls?,
        // Joining waits until a controller answers.
        () = signals.next() => return Ok(()),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = Server::start(Settings {
        listen: args.listen,
        data_dir: args.data_dir.clone(),
        limits: Limits { max_blob: args.max_blob_bytes, upload_ttl: args.upload_ttl.into() },
        tls,
        push_needs_certificate: args.require_client_cert,
    })
    .await?;
    tracing::info!(listen = %server.local_addr(), scheme, data_dir = %args.data_dir.display(), "registry is ready");
    server.run(signals.next()).await;
    tracing::info!("registry has stopped");
    Ok(())
}

/// The TLS settings that the arguments ask for, or none for plain HTTP.
async fn tls(args: &ServeArgs) -> Result<Option<Arc<ServerConfig>>> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        return certificate::server_config(certificate, key).map(Some);
    }
    if args.plain_http {
        return Ok(None);
    }
    if let Some(config) = membership::server_config(args).await? {
        return Ok(Some(config));
    }
    if args.require_client_cert {
        bail!("--require-client-cert needs a registry that joined a cluster: give --join and --token");
    }
    if !args.listen.ip().is_loopback() {
        bail!(
            "{} can be reached from other machines, and there is no certificate: give --join and --token to get \
             one from your cluster, or --tls-cert and --tls-key for one of your own, or listen on 127.0.0.1, or \
             accept plain HTTP with --plain-http",
            args.listen
        );
    }
    Ok(None)
}

async fn collect(args: GcArgs) -> Result<()> {
    let storage = Storage::open(&args.data_dir, Limits::default())?;
    let found = storage.collect_garbage(args.grace.into(), SystemTime::now(), args.dry_run).await?;
    println!(
        "{}: {} objects ({} bytes), {} links of repositories to blobs{}",
        if args.dry_run { "would delete" } else { "deleted" },
        found.objects,
        found.bytes,
        found.links,
        if args.dry_run { String::new() } else { format!(", {} half-written files", found.leftovers) },
    );
    Ok(())
}

/// The signals that end the registry in good order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("catching signals");
        Ok(Signals { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
