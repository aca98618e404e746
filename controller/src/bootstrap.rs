//! Making a cluster: its authority, its tokens, its first controller and its first admin.
//!
//! All of it is decided at once and written down as the cluster's first command, before anything else exists. A crash at
//! any moment is healed by starting again, which goes on from that file until the command is committed.

use crate::{
    authority::JOIN_ROLES,
    clock,
    core::Core,
    data_dir::{DataDir, DataDirError},
    propose::WriteError,
    raft::{self, LogStore, ProposeError, StoreError as LogError},
    settings::Settings,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use thiserror::Error;
use wharf_cluster::{
    command::{Command, Envelope},
    ids::ControllerId,
    level::Level,
    state::Rejected,
};
use wharf_identity::{
    Authority, AuthorityError, ClientContext, Credentials, CredentialsError, Identity, IdentityError,
    KeyAndRequest, KeyError, Role, StoreError, SubjectName, TokenSecret,
};
use wharf_proto::codec::{CodecError, decode_command, encode_command};

/// The first controller of a cluster.
pub const FIRST: ControllerId = ControllerId(1);
/// The first admin's id, and the name of its context.
pub(crate) const ADMIN: &str = "admin";
pub(crate) const CONTEXT: &str = "default";
/// How long the first admin's certificate holds.
pub(crate) const ADMIN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long making the cluster may take once the log is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why no cluster could be made.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file that says what is being made is damaged.
    #[error(
        "the file \"founding\" in the data directory is damaged ({0}); empty the directory and start anew"
    )]
    Founding(CodecError),
    /// That file says something else.
    #[error(
        "the file \"founding\" in the data directory makes no cluster; empty the directory and start anew"
    )]
    NotFounding,
    /// No authority, or no certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No key or secret.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Random,
    /// Certificates that don't fit.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// An identity or a context can't be saved.
    #[error(transparent)]
    Save(#[from] StoreError),
    /// The log can't be founded.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The first commands are refused.
    #[error("the cluster's first command failed: {0}")]
    Write(#[from] WriteError),
    /// There is no leader, though there is only one controller.
    #[error("the first controller did not become leader within {} s", PATIENCE.as_secs())]
    NoLeader,
}

/// Decides on a new cluster, and writes the decision down.
///
/// # Errors
/// When keys can't be made, or the decision can't be saved.
pub fn decide(data_dir: &DataDir) -> Result<(), BootstrapError> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| BootstrapError::Random)?;
    let id = format!("{:016x}", u64::from_be_bytes(random));
    let authority = Authority::create(&id, SystemTime::now())?;
    let tokens = JOIN_ROLES
        .into_iter()
        .map(|role| Ok((role, TokenSecret::generate()?.reveal())))
        .collect::<Result<BTreeMap<_, _>, KeyError>>()?;
    let command = Command::InitCluster {
        id,
        ca_cert: authority.certificate_pem().to_owned(),
        ca_key: authority.key_pem(),
        tokens,
    };
    let envelope = Envelope { at: clock::now(), request: None, command };
    Ok(data_dir.founding().write(&encode_command(&envelope))?)
}

/// The cluster's first command, if a cluster is being made here.
///
/// # Errors
/// When the file can't be read.
pub fn decided(data_dir: &DataDir) -> Result<Option<Command>, BootstrapError> {
    let Some(bytes) = data_dir.founding().read()? else { return Ok(None) };
    match decode_command(&bytes, Level::NEWEST).map_err(BootstrapError::Founding)?.command {
        command @ Command::InitCluster { .. } => Ok(Some(command)),
        _ => Err(BootstrapError::NotFounding),
    }
}

/// Makes what the decision needs on this machine, as far as it isn't there: the first controller's certificate, the
/// admin's context, the log.
///
/// # Errors
/// When any of it can't be made or saved.
pub fn prepare(
    settings: &Settings,
    data_dir: &DataDir,
    store: &LogStore,
    command: &Command,
    contexts: &[PathBuf],
) -> Result<(), BootstrapError> {
    let Command::InitCluster { ca_cert, ca_key, .. } = command else {
        return Err(BootstrapError::NotFounding);
    };
    let authority = Authority::from_pem(ca_cert, ca_key)?;
    if data_dir.identity().load()?.is_none() {
        let names: Vec<SubjectName> =
            SubjectName::from_address(&settings.advertise).ok().into_iter().collect();
        let identity = Identity::new(authority.cluster(), Role::Controller, &FIRST.to_string())?;
        let lifetime = settings.timings.certificate_lifetime;
        let credentials = issue::<BootstrapError>(&authority, &identity, &names, lifetime)?;
        data_dir.identity().save(&credentials)?;
    }
    let missing: Vec<&Path> = contexts.iter().map(PathBuf::as_path).filter(|path| !path.exists()).collect();
    if !missing.is_empty() {
        let identity = Identity::new(authority.cluster(), Role::Admin, ADMIN)?;
        let credentials = issue::<BootstrapError>(&authority, &identity, &[], ADMIN_LIFETIME)?;
        let context = ClientContext::new(CONTEXT, vec![settings.advertise.clone()], &credentials);
        for path in missing {
            context.save(path)?;
            tracing::info!(path = %path.display(), "wrote the first admin's context");
        }
    }
    if store.id()?.is_none() {
        raft::bootstrap(store, FIRST.0, settings.advertise.as_bytes())?;
    }
    Ok(())
}

/// Makes a key on this machine, and signs a certificate for it.
///
/// # Errors
/// When either can't be made.
pub(crate) fn issue<E>(
    authority: &Authority,
    identity: &Identity,
    names: &[SubjectName],
    lifetime: Duration,
) -> Result<Credentials, E>
where
    E: From<KeyError> + From<AuthorityError> + From<CredentialsError>,
{
    let key = KeyAndRequest::generate()?;
    let certificate = authority.issue(&key.csr_pem, identity, names, SystemTime::now(), lifetime)?;
    Ok(Credentials::from_pem(authority.certificate_pem(), &certificate, &key.key_pem)?)
}

/// Commits the decision, if it isn't committed yet, and forgets the file.
///
/// # Errors
/// When it can't be committed in time.
pub async fn complete(
    core: &Core,
    settings: &Settings,
    data_dir: &DataDir,
    command: Command,
) -> Result<(), BootstrapError> {
    let mut leadership = core.leadership.clone();
    match tokio::time::timeout(PATIENCE, leadership.wait_for(|now| now.leading)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(WriteError::Raft(ProposeError::Stopped).into()),
        Err(_) => return Err(BootstrapError::NoLeader),
    }
    match core.proposer.propose(None, command).await {
        // Committed before a crash.
        Err(WriteError::Rejected(Rejected::Conflict(_))) => {}
        done => {
            done?;
        }
    }
    let recorded = Command::SetControllerAddress {
        controller: FIRST,
        name: settings.name.clone(),
        address: settings.advertise.clone(),
    };
    core.proposer.propose(None, recorded).await?;
    data_dir.founding().remove()?;
    let id = core.published.state().cluster().map(|info| info.id.clone()).unwrap_or_default();
    tracing::info!(cluster = id, "made a new cluster");
    Ok(())
}
