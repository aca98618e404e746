//! `wharf-controller --recover`: one controller goes on without all others, which are lost for good.
//!
//! Offline, on its data directory. Its state, with everything in its log, becomes the beginning of a new log whose only
//! member it is, in a term beyond any that the lost ones can have reached. That is one write to the log: it has happened
//! or it hasn't, and can be asked for again. Identities stay: cluster, authority, certificates.

mod report;

use crate::{
    clock,
    data_dir::{DataDir, DataDirError, LOG},
    join::{self, JoinError},
    raft::{LogMembers, LogStore, OfflineLog, Piece, StoreError as LogError, term_beyond},
};
use futures::future::join_all;
use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use wharf_cluster::{
    ids::{ControllerId, Timestamp},
    level::Level,
    model::Controller,
    state::{Founder, State},
};
use wharf_identity::{Credentials, CredentialsCell, StoreError, connect};
use wharf_proto::codec::{CodecError, decode_command, decode_snapshot, encode_snapshot};

/// How long another controller has to show that it is not lost.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// Why a controller can't be recovered.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// No controller's data.
    #[error("there is no controller's data in {}: give its --data-dir", .0.display())]
    Nothing(PathBuf),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log can't be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The identity can't be used.
    #[error(transparent)]
    Identity(#[from] StoreError),
    /// The identity is not a controller's.
    #[error(transparent)]
    NotAController(#[from] JoinError),
    /// Log and identity don't belong together, or one is missing.
    #[error(
        "the data directory is not whole: its log and its identity are not of one controller. Recover another \
         controller, or restore a backup"
    )]
    Incomplete,
    /// Something else goes on in the data directory.
    #[error(
        "the data directory is only being made (its file \"{0}\" says so): start the controller as before, or recover \
         another one"
    )]
    Unfinished(&'static str),
    /// Its log holds no cluster.
    #[error(
        "this controller has never received the cluster's state: recover another one, or restore a backup"
    )]
    NoState,
    /// It isn't in its own table.
    #[error("controller {0} was removed from the cluster: recover one that was not")]
    Removed(ControllerId),
    /// The state is of a newer version.
    #[error("{what} can't be read: {source}")]
    Codec {
        /// Which part.
        what: String,
        /// Why.
        source: CodecError,
    },
    /// It isn't lost.
    #[error(
        "{} answers, so not all other controllers are lost. If most of them run, take the lost ones out with `wharf \
         controller rm`. Else stop it first: two halves that both go on would be two clusters", describe(.0)
    )]
    Alive(Controller),
    /// Nobody confirmed it.
    #[error("nothing was done: nobody is there to confirm it; give --yes")]
    Unconfirmed,
    /// Somebody decided against it.
    #[error("nothing was done")]
    Declined,
    /// Nobody can be asked.
    #[error("cannot ask for confirmation: {0}")]
    Terminal(#[from] io::Error),
}

fn describe(controller: &Controller) -> String {
    format!("controller {} ({}, {})", controller.id, controller.name, controller.address)
}

/// What a recovery would do.
#[derive(Debug)]
pub struct Finding {
    /// The cluster's id.
    pub cluster: String,
    /// The controller that is left.
    pub kept: Controller,
    /// Whether it voted. One that didn't may be far behind.
    pub voter: bool,
    /// The last entry that it knows to be committed.
    pub commit: u64,
    /// The last entry in its log.
    pub last: u64,
    /// When the last change that it knows of was made.
    pub changed: Timestamp,
    /// The controllers that are given up.
    pub dropped: Vec<Controller>,
    /// It is alone already: there is nothing to do.
    pub alone: bool,
}

/// A controller's data, read and found fit to go on alone.
#[derive(Debug)]
pub struct Recovery {
    store: LogStore,
    credentials: Credentials,
    state: State,
    finding: Finding,
}

impl Recovery {
    /// Reads a controller's data, and changes nothing.
    ///
    /// # Errors
    /// When another process uses it, or nothing can be made of it.
    pub fn examine(path: &Path) -> Result<Self, RecoverError> {
        if !path.join(LOG).exists() {
            return Err(RecoverError::Nothing(path.to_owned()));
        }
        let data_dir = DataDir::open(path)?;
        let store = LogStore::open(data_dir.log())?;
        for (note, name) in [
            (data_dir.founding(), "founding"),
            (data_dir.joining(), "joining"),
            (data_dir.restoring(), "restoring"),
        ] {
            if note.exists()? {
                return Err(RecoverError::Unfinished(name));
            }
        }
        let credentials = data_dir.identity().load()?.ok_or(RecoverError::Incomplete)?;
        let log = OfflineLog::open(&store)?;
        if log.id() != join::controller_id(&credentials)?.0 {
            return Err(RecoverError::Incomplete);
        }
        let (state, members) = replay(&log)?;
        let finding = find(&log, &state, &members)?;
        Ok(Recovery { store, credentials, state, finding })
    }

    /// What carrying it out would do.
    #[must_use]
    pub fn finding(&self) -> &Finding {
        &self.finding
    }

    /// A controller that would be given up, and answers.
    pub async fn alive(&self) -> Option<Controller> {
        let cell = CredentialsCell::new(self.credentials.clone());
        let answers = self.finding.dropped.iter().map(|other| {
            let cell = cell.clone();
            async move {
                let answer = tokio::time::timeout(SIGN_OF_LIFE, connect(&other.address, &cell)).await;
                matches!(answer, Ok(Ok(_))).then(|| other.clone())
            }
        });
        join_all(answers).await.into_iter().flatten().next()
    }

    /// Makes it the only controller.
    ///
    /// # Errors
    /// When the log can't be written; it is as it was then.
    pub fn carry_out(mut self, now: Timestamp) -> Result<(), RecoverError> {
        let id = self.finding.kept.id;
        self.state.begin_again(&Founder::Survivor(id), now).ok_or(RecoverError::Removed(id))?;
        let log = OfflineLog::open(&self.store)?;
        let term = term_beyond(log.term(), now.0);
        log.begin_again(term, |to| encode_snapshot(&self.state, to))?;
        Ok(())
    }
}

/// The state at the log's end.
fn replay(log: &OfflineLog<'_>) -> Result<(State, LogMembers), RecoverError> {
    let mut state = State::default();
    let members = log.read(|piece| {
        match piece {
            Piece::Snapshot(from) => {
                state = decode_snapshot(from, Level::NEWEST)
                    .map_err(|source| RecoverError::Codec { what: "its snapshot".to_owned(), source })?;
            }
            Piece::Command { index, bytes } => {
                let envelope = decode_command(bytes, Level::NEWEST).map_err(|source| {
                    RecoverError::Codec { what: format!("entry {index} of its log"), source }
                })?;
                // A refusal is as much a part of the history as what was done.
                let _ = state.execute(&envelope);
            }
        }
        Ok::<_, RecoverError>(())
    })?;
    Ok((state, members))
}

fn find(log: &OfflineLog<'_>, state: &State, members: &LogMembers) -> Result<Finding, RecoverError> {
    let id = ControllerId(log.id());
    let cluster = state.cluster().ok_or(RecoverError::NoState)?.id.clone();
    let kept = state.controller(id).ok_or(RecoverError::Removed(id))?.clone();
    let dropped: Vec<Controller> = state.controllers().filter(|known| known.id != id).cloned().collect();
    let alone = dropped.is_empty() && members.voters == [id.0].into() && members.learners.is_empty();
    Ok(Finding {
        cluster,
        kept,
        voter: members.voters.contains(&id.0),
        commit: log.commit(),
        last: log.last(),
        changed: state.now(),
        dropped,
        alone,
    })
}

/// The whole command: says what would happen, asks, and does it.
///
/// # Errors
/// When it can't be done, or is not wanted.
pub async fn run(path: &Path, yes: bool, out: &mut impl Write) -> Result<(), RecoverError> {
    let recovery = Recovery::examine(path)?;
    if recovery.finding().alone {
        return Ok(report::alone(out, recovery.finding())?);
    }
    if let Some(other) = recovery.alive().await {
        return Err(RecoverError::Alive(other));
    }
    let now = clock::now();
    report::plan(out, recovery.finding(), path, now)?;
    if !yes {
        confirm(out)?;
    }
    let kept = recovery.finding().kept.clone();
    recovery.carry_out(now)?;
    Ok(report::done(out, &kept)?)
}

fn confirm(out: &mut impl Write) -> Result<(), RecoverError> {
    if !io::stdin().is_terminal() {
        return Err(RecoverError::Unconfirmed);
    }
    write!(out, "Go on? Type yes to do it: ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(RecoverError::Declined) }
}
