//! Joining a cluster: an identity by a token, then an empty log that the leader fills.

use crate::{
    data_dir::{DataDir, DataDirError},
    raft::{self, LogStore, StoreError as LogError},
    settings::Settings,
};
use std::time::Duration;
use thiserror::Error;
use wharf_cluster::ids::ControllerId;
use wharf_identity::{Credentials, JoinDetails, JoinError as IdentityJoinError, JoinToken, Role};

/// What is waited before controllers are asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a cluster could not be joined.
#[derive(Debug, Error)]
pub enum JoinError {
    /// No controller lets this one in.
    #[error(transparent)]
    Join(#[from] IdentityJoinError),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log can't be founded.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The certificate is not a controller's.
    #[error(
        "the identity in the data directory is {0}, not a controller; empty the directory and join again"
    )]
    NotAController(String),
}

/// Joins through one of these controllers; asks again for as long as that can help.
///
/// # Errors
/// When this controller is refused, or what it got can't be kept.
pub async fn join(
    settings: &Settings,
    data_dir: &DataDir,
    addresses: &[String],
    token: &JoinToken,
) -> Result<Credentials, JoinError> {
    data_dir.joining().write(b"")?;
    let details = JoinDetails {
        role: Role::Controller,
        name: settings.name.clone(),
        advertise_address: settings.advertise.clone(),
        names: Vec::new(),
        description: None,
        level: u32::from(settings.max_level.0),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match wharf_identity::join(addresses, token, details.clone(), &data_dir.identity()).await {
            Ok(joined) => {
                tracing::info!(identity = %joined.credentials.identity(), "joined the cluster");
                return Ok(joined.credentials);
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "cannot join yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Founds the empty log of a controller that has joined.
///
/// # Errors
/// When that can't be done.
pub fn found(data_dir: &DataDir, store: &LogStore, credentials: &Credentials) -> Result<(), JoinError> {
    let id = controller_id(credentials)?;
    if store.id()?.is_none() {
        raft::join(store, id.0)?;
    }
    Ok(data_dir.joining().remove()?)
}

/// Which controller a certificate names.
///
/// # Errors
/// When it names none.
pub fn controller_id(credentials: &Credentials) -> Result<ControllerId, JoinError> {
    let identity = credentials.identity();
    let id = identity.id.parse().ok().filter(|_| identity.role == Role::Controller);
    id.ok_or_else(|| JoinError::NotAController(identity.to_string()))
}
