//! Starting a controller, and stopping it.

use crate::{
    belonging,
    bootstrap::{self, BootstrapError},
    core::Core,
    data_dir::{DataDir, DataDirError},
    join::{self, JoinError},
    leader::{self, dispatch::Dispatcher},
    leadership,
    propose::Proposer,
    raft::{self, LogStore, RaftConfig, RaftFailure, RaftThread, StoreError as LogError},
    renew,
    replica::Replica,
    restore::{self, RestoreError},
    server::{self, ServeError},
    settings::{Settings, Start},
    succession::Succession,
    transport::{GrpcTransport, Peers},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wharf_cluster::{command::Command, ids::ControllerId};
use wharf_identity::{Credentials, CredentialsCell, StoreError};

/// How long a leader tries to hand over before it stops.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How long connections have to end.
const GRACE: Duration = Duration::from_secs(3);

/// Why a controller can't start, or has stopped by itself.
#[derive(Debug, Error)]
pub enum ControllerError {
    /// The port can't be had.
    #[error("cannot listen on {address}: {source}; is another controller running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The identity can't be used.
    #[error(transparent)]
    Identity(#[from] StoreError),
    /// The log can't be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No cluster could be made.
    #[error("cannot make a cluster: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// No cluster could be joined.
    #[error("cannot join the cluster: {0}")]
    Join(#[from] JoinError),
    /// No cluster could be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// There is nothing to start from.
    #[error(
        "there is no controller's data in {}: give --bootstrap to make a cluster, --join HOST:PORT --token T to join \
         one, or --restore FILE to make one from a backup", .0.display()
    )]
    Nothing(PathBuf),
    /// A part of the data is gone.
    #[error(
        "the data directory {} has {has} but no {misses}: it was damaged. Remove this controller from the cluster \
         (wharf controller rm), empty the directory, and join again", path.display()
    )]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// What is there.
        has: &'static str,
        /// What isn't.
        misses: &'static str,
    },
    /// The replica can't go on.
    #[error(transparent)]
    Raft(#[from] RaftFailure),
    /// The server can't go on.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The cluster goes on without it.
    #[error(
        "this controller was removed from the cluster. To bring its machine back, empty its data directory and join \
         again (wharf token show --role controller)"
    )]
    Removed,
    /// A task of this program failed.
    #[error("a part of the controller failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The replica has stopped.
    #[error("the replica stopped: {0}")]
    Stopped(String),
}

impl ControllerError {
    /// What the program ends with: a supervisor can tell a disk that may be helped (74) and data that have to be
    /// looked at by somebody (65) from the rest (1). The numbers are those of sysexits.h.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let log = match self {
            ControllerError::Log(error)
            | ControllerError::Bootstrap(BootstrapError::Log(error))
            | ControllerError::Join(JoinError::Log(error)) => Some(error),
            ControllerError::Raft(failure) => failure.of_store(),
            _ => None,
        };
        match log {
            Some(error) if error.is_disk() => 74,
            Some(LogError::Corrupted(_)) => 65,
            _ => 1,
        }
    }
}

/// How a controller that was told to has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another cluster's state lies in its data directory: it is to be started again, and be that one's controller.
    Succeeded,
}

/// A running controller.
pub struct Controller {
    core: Arc<Core>,
    address: SocketAddr,
    cell: CredentialsCell,
    server: JoinHandle<Result<(), ServeError>>,
    helpers: Vec<JoinHandle<()>>,
    raft: RaftThread,
}

impl Controller {
    /// Starts a controller: from its data directory, or with what `settings` say of an empty one. It serves when this
    /// returns; a cluster that is being made has been made.
    ///
    /// # Errors
    /// When it can't start.
    pub async fn start(settings: Settings) -> Result<Self, ControllerError> {
        let data_dir = DataDir::open(&settings.data_dir)?;
        // First, so that a port that is taken is noticed before anybody is told of this controller.
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|source| ControllerError::Listen { address: settings.listen, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| ControllerError::Listen { address: settings.listen, source })?;
        let log = data_dir.log();
        let store = tokio::task::spawn_blocking(move || LogStore::open(log)).await??;
        let (credentials, founding) = identify(&settings, &data_dir, &store).await?;
        let id = join::controller_id(&credentials)?;
        let cell = CredentialsCell::new(credentials);
        let succession = Succession::new(data_dir.clone());
        let (core, raft) = open(&settings, id, store, cell.clone(), succession).await?;
        renew::if_expired(&core, &cell, &data_dir.identity());

        let stopping = core.stopping.clone();
        let server = tokio::spawn(server::serve(core.clone(), listener, cell.clone()));
        let helpers = vec![
            tokio::spawn(leader::run(core.clone(), stopping)),
            tokio::spawn(renew::run(core.clone(), cell.clone(), data_dir.identity())),
            tokio::spawn(belonging::run(core.clone())),
        ];
        let controller = Controller { core, address, cell, server, helpers, raft };
        if let Some(command) = founding
            && let Err(error) = bootstrap::complete(&controller.core, &settings, &data_dir, command).await
        {
            controller.abandon().await?;
            return Err(error.into());
        }
        tracing::info!(controller = %id, %address, advertise = controller.core.advertise, "this controller is running");
        Ok(controller)
    }

    /// What its parts share.
    #[must_use]
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its identity.
    #[must_use]
    pub fn credentials(&self) -> &CredentialsCell {
        &self.cell
    }

    /// Runs until `stop` is ready, or it can't go on.
    ///
    /// # Errors
    /// When it can't go on.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<Ended, ControllerError> {
        let ended = tokio::select! {
            () = stop => Ok(Ended::Stopped),
            () = self.core.succession.complete() => Ok(Ended::Succeeded),
            failure = failure(&self.core) => Err(failure),
            served = &mut self.server => match served {
                Ok(Ok(())) => Ok(Ended::Stopped),
                Ok(Err(error)) => Err(error.into()),
                Err(error) => Err(error.into()),
            },
        };
        // Why the replica stopped says more than that it did.
        self.stop().await?;
        ended
    }

    /// Stops in good order: hands leadership over, lets calls end, writes what is to be written.
    ///
    /// # Errors
    /// When the replica had failed.
    pub async fn stop(self) -> Result<(), ControllerError> {
        self.hand_over().await;
        self.abandon().await
    }

    async fn hand_over(&self) {
        let status = self.core.raft.status().borrow().clone();
        let voters = status.peers.iter().filter(|(id, peer)| peer.active && status.voters.contains(id));
        let successor = voters.max_by_key(|(_, peer)| peer.matched).map(|(id, _)| *id);
        let Some(successor) = successor.filter(|_| self.core.leading()) else { return };
        match tokio::time::timeout(HAND_OVER, self.core.raft.transfer_leader(successor)).await {
            Ok(Ok(())) => tracing::info!(to = %ControllerId(successor), "handed leadership over"),
            Ok(Err(error)) => tracing::warn!(%error, "could not hand leadership over"),
            Err(_) => tracing::warn!("could not hand leadership over in time"),
        }
    }

    /// Stops without handing leadership over.
    ///
    /// # Errors
    /// When the replica had failed.
    pub async fn abandon(self) -> Result<(), ControllerError> {
        let Controller { core, mut server, helpers, raft, .. } = self;
        core.stopping.cancel();
        if !server.is_finished() && tokio::time::timeout(GRACE, &mut server).await.is_err() {
            server.abort();
        }
        for helper in helpers {
            helper.abort();
        }
        core.raft.shutdown().await;
        Ok(tokio::task::spawn_blocking(move || raft.join()).await??)
    }
}

/// Who this controller is; what it has to commit first, if it makes a cluster.
async fn identify(
    settings: &Settings,
    data_dir: &DataDir,
    store: &LogStore,
) -> Result<(Credentials, Option<Command>), ControllerError> {
    let incomplete =
        |has, misses| ControllerError::Incomplete { path: data_dir.path().to_owned(), has, misses };
    if let Some(credentials) = restore::restore(settings, data_dir, store)? {
        return Ok((credentials, None));
    }
    let known = data_dir.identity().load()?;
    let founded = store.id()?;
    if known.is_none() && founded.is_none() && bootstrap::decided(data_dir)?.is_none() {
        match &settings.start {
            Start::Existing | Start::Restore { .. } => {
                return Err(ControllerError::Nothing(data_dir.path().to_owned()));
            }
            Start::Bootstrap { .. } => bootstrap::decide(data_dir)?,
            Start::Join { addresses, token } => {
                let credentials = join::join(settings, data_dir, addresses, token).await?;
                join::found(data_dir, store, &credentials)?;
                return Ok((credentials, None));
            }
        }
    }
    if let Some(command) = bootstrap::decided(data_dir)? {
        let contexts = match &settings.start {
            Start::Bootstrap { contexts } => contexts.clone(),
            Start::Join { .. } | Start::Restore { .. } | Start::Existing => vec![data_dir.admin_context()],
        };
        bootstrap::prepare(settings, data_dir, store, &command, &contexts)?;
        let made = data_dir.identity().load()?.ok_or_else(|| incomplete("a log", "identity"))?;
        return Ok((made, Some(command)));
    }
    match (known, founded) {
        (Some(credentials), Some(_)) => Ok((credentials, None)),
        // A join that was interrupted after it had succeeded. Without that note the log was lost, and to begin with an
        // empty one under the same id would break what Raft relies on.
        (Some(credentials), None) if data_dir.joining().read()?.is_some() => {
            join::found(data_dir, store, &credentials)?;
            Ok((credentials, None))
        }
        (Some(_), None) => Err(incomplete("an identity", "log")),
        (None, _) => Err(incomplete("a log", "identity")),
    }
}

/// Starts the replica.
async fn open(
    settings: &Settings,
    id: ControllerId,
    store: LogStore,
    cell: CredentialsCell,
    succession: Succession,
) -> Result<(Arc<Core>, RaftThread), ControllerError> {
    let (replica, published) = Replica::new(settings.max_level);
    let peers = Peers::new(&settings.advertise, settings.max_level, cell, published.clone());
    let transport = Arc::new(GrpcTransport::new(peers.clone()));
    let start = move || raft::start(RaftConfig::new(id.0), Arc::new(store), replica, transport);
    let (raft, thread) = tokio::task::spawn_blocking(start).await??;
    peers.attach(raft.clone());
    let core = Core {
        id,
        advertise: settings.advertise.clone(),
        level: settings.max_level,
        proposer: Proposer::new(raft.clone(), published.clone()),
        leadership: leadership::follow(raft.status()),
        raft,
        published,
        peers,
        dispatcher: Arc::new(Dispatcher::default()),
        timings: settings.timings,
        stopping: CancellationToken::new(),
        succession,
    };
    Ok((Arc::new(core), thread))
}

/// Waits until the replica can't go on, or is no member any more.
async fn failure(core: &Core) -> ControllerError {
    let mut status = core.raft.status();
    let mut member = false;
    loop {
        {
            let now = status.borrow_and_update();
            if let Some(reason) = &now.failed {
                return ControllerError::Stopped(reason.to_string());
            }
            // One that has only begun to read the log has not come to its own addition yet.
            if member && now.removed() {
                return ControllerError::Removed;
            }
            member |= !now.voters.is_empty() && !now.removed();
        }
        tokio::select! {
            () = core.peers.expelled() => return ControllerError::Removed,
            changed = status.changed() => match changed {
                Ok(()) => {}
                // Stopped on purpose; that is waited for elsewhere.
                Err(_) if core.succession.has_begun() => std::future::pending().await,
                Err(_) => return ControllerError::Stopped("its thread has ended".to_owned()),
            },
        }
    }
}
