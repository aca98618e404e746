//! Puts the agent together and runs it.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{SignalKind, signal};
use wharf_identity::{Credentials, CredentialsCell, Dialer, Identity, spawn_renewal};
use wharf_image::{Images, ImagesOptions, RegistryOptions};
use wharf_proto::v1::NodeDescription;
use wharf_runtime::api::ContainerRuntime;
use wharf_runtime::client::{Shims, ShimsConfig};
use wharf_runtime::host::HostFacts;
use wharf_runtime::runtimes::Runtimes;

use crate::cli::{Cli, Command};
use crate::describe::{describe, own_address};
use crate::images::NodeImages;
use crate::logs::Logs;
use crate::membership::membership;
use crate::network::bridge::{Bridge, BridgeOptions};
use crate::reports::Reports;
use crate::reset::reset;
use crate::session::Session;
use crate::store::Store;
use crate::worker::{Parts, Places, Worker};

/// Runs the agent until it is told to stop. Containers are left as they are.
///
/// # Errors
/// When the agent can't begin.
pub async fn run(cli: Cli) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("wharf-agent must run as root: it makes namespaces, mounts and links");
    }
    let mut stop = Stop::listen()?;
    tokio::select! {
        result = async {
            match cli.command {
                Some(Command::Reset { .. }) => reset(&cli).await,
                None => serve(cli).await,
            }
        } => return result,
        () = stop.told() => {}
    }
    tracing::info!("stopping; containers go on running");
    Ok(())
}

/// The signals that tell the agent to stop.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("can't listen for signals");
        Ok(Stop { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(cli: Cli) -> Result<()> {
    let token = cli.join_token()?;
    let name = cli.node_name()?;
    let foundation = Foundation::lay(&cli)?;
    let Foundation { data_dir, host, shims, store, .. } = &foundation;
    let known = store.controllers()?;
    let reachable: Vec<String> = cli.join.iter().chain(&known).cloned().collect();
    let address = cli.advertise.or_else(|| own_address(&reachable));
    let description = describe(host, &name, address, shims.runtime_names(), cli.label_map());
    let member = membership(data_dir, &cli.join, token.as_ref(), description.clone()).await?;
    tracing::info!(identity = %member.credentials.identity(), name, data_dir = %data_dir.display(), "agent");
    let controllers = merge([member.controllers, known, cli.join.clone()]);
    store.set_controllers(&controllers)?;
    let cell = CredentialsCell::new(member.credentials.clone());
    let dialer = Dialer::new(controllers, cell.clone());
    let (worker, _) = worker(&cli, &foundation, &member.credentials, name).await?;
    // Ends with the process.
    drop(spawn_renewal(cell, member.folder, dialer.clone()));
    match session(worker, store.clone(), dialer, description).run().await {}
}

/// What stands before this node has an identity: its directories, its database, its runtimes.
pub(crate) struct Foundation {
    pub(crate) data_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) host: HostFacts,
    shims: Shims,
    store: Store,
    _lock: Flock<File>,
}

impl Foundation {
    /// Makes what isn't there, and takes hold of it for this process alone.
    pub(crate) fn lay(cli: &Cli) -> Result<Self> {
        let shim = cli.shim_program()?;
        let data_dir = make_dir(&cli.data_dir)?;
        let run_dir = make_dir(&cli.run_dir)?;
        let lock = lock(&data_dir)?;
        let host = HostFacts::detect().context("can't look at this machine")?;
        let mut runtimes = Runtimes::default();
        for flag in &cli.runtimes {
            runtimes.add(flag).context("--runtime")?;
        }
        if let Some(default) = &cli.default_runtime {
            runtimes.set_default(default).context("--default-runtime")?;
        }
        let shims = Shims::new(ShimsConfig {
            shim,
            run_dir: run_dir.join("containers"),
            log_dir: data_dir.join("logs"),
            runtimes,
            host: host.clone(),
        })
        .context("can't prepare the runtime's directories")?;
        let store = Store::open(&data_dir)?;
        Ok(Foundation { data_dir, run_dir, host, shims, store, _lock: lock })
    }
}

/// Several agents may share one machine's cgroups, even of clusters that count their nodes alike.
pub(crate) fn cgroup_parent(identity: &Identity) -> String {
    format!("/wharf/{}.{}", identity.cluster, identity.id)
}

pub(crate) async fn worker(
    cli: &Cli,
    foundation: &Foundation,
    credentials: &Credentials,
    node: String,
) -> Result<(Arc<Worker>, Arc<Bridge>)> {
    let Foundation { data_dir, run_dir, shims, store, .. } = foundation;
    let places = Places {
        volumes: data_dir.join("volumes"),
        files: run_dir.join("tasks"),
        resolv_conf: PathBuf::from("/etc/resolv.conf"),
        hosts: PathBuf::from("/etc/hosts"),
        cgroup_parent: cgroup_parent(credentials.identity()),
        node,
    };
    let images = open_images(cli, data_dir, credentials).await?;
    let options =
        BridgeOptions { name: cli.bridge.clone(), subnet: cli.bridge_subnet, run_dir: run_dir.clone() };
    let bridge = Arc::new(Bridge::open(options).await.context("can't set the node's network up")?);
    tracing::info!(bridge = cli.bridge, subnet = %bridge.subnet(), "network");
    let parts = Parts {
        runtime: Arc::new(shims.clone()),
        images: Arc::new(NodeImages::new(images)),
        network: bridge.clone(),
        reports: Arc::new(Reports::new(store.statuses()?)),
        store: store.clone(),
        places,
    };
    Ok((Worker::start(parts).await?, bridge))
}

async fn open_images(cli: &Cli, data_dir: &Path, credentials: &Credentials) -> Result<Images> {
    let mut extra_roots = vec![credentials.ca_pem().as_bytes().to_vec()];
    for path in &cli.registry_ca {
        extra_roots.push(std::fs::read(path).with_context(|| format!("--registry-ca {}", path.display()))?);
    }
    let plain_http = cli.registry_plain_http.iter().cloned().collect();
    let registry = RegistryOptions { extra_roots, plain_http, ..RegistryOptions::default() };
    let options = ImagesOptions { registry, ..ImagesOptions::for_running(data_dir.join("images")) };
    let opened = tokio::task::spawn_blocking(move || Images::open(options)).await;
    opened.context("opening the images")?.context("can't open the images")
}

fn session(worker: Arc<Worker>, store: Store, dialer: Dialer, description: NodeDescription) -> Session {
    let (reports, logs) = (worker.reports(), Logs::new(worker.clone()));
    Session { worker, reports, dialer, store, description, logs }
}

/// All of them, each once, the first ones first.
fn merge(lists: [Vec<String>; 3]) -> Vec<String> {
    let mut all = Vec::new();
    for address in lists.into_iter().flatten() {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

fn make_dir(path: &Path) -> Result<PathBuf> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path).and_then(|()| path.canonicalize());
    made.with_context(|| format!("can't make {}", path.display()))
}

/// Two agents on one directory would stop each other's containers.
fn lock(data_dir: &Path) -> Result<Flock<File>> {
    let path = data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("can't make {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow::anyhow!("another agent uses {}: each needs a --data-dir of its own", data_dir.display())
    })
}
