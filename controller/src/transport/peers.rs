//! The other controllers: where they are, and the channels to them.

use super::link::Link;
use crate::{propose::Raft, replica::Published};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};
use thiserror::Error;
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};
use wharf_cluster::ids::ControllerId;
use wharf_identity::{CredentialsCell, DialError, channel};

const ADDRESS: &str = "wharf-address";
const VERSION: &str = "wharf-version";
/// Tells a controller that it is no member any more.
const REMOVED: &str = "wharf-removed";
/// Longest value taken from a peer.
const MAX_TOLD: usize = 300;

/// The version of this program.
pub const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why there is no way to a peer.
#[derive(Debug, Clone, Error)]
pub enum PeersError {
    /// Nobody has said where it is.
    #[error("the address of controller {0} is not known")]
    Unknown(ControllerId),
    /// Its address, or our own identity, is of no use.
    #[error(transparent)]
    Dial(#[from] DialError),
}

/// What a peer said of itself when it opened its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it is reached.
    pub address: String,
    /// Its version.
    pub version: String,
}

/// The other controllers.
pub struct Peers {
    advertise: String,
    cell: CredentialsCell,
    published: Arc<Published>,
    raft: OnceLock<Raft>,
    runtime: Handle,
    told: Mutex<HashMap<u64, Told>>,
    news: Notify,
    expelled: CancellationToken,
    channels: Mutex<HashMap<u64, (String, Channel)>>,
    pub(super) links: Mutex<HashMap<u64, Link>>,
}

impl Peers {
    /// The peers of a controller that is reached at `advertise`. Calls to them and snapshots run on the current runtime.
    #[must_use]
    pub fn new(advertise: &str, cell: CredentialsCell, published: Arc<Published>) -> Arc<Self> {
        Arc::new(Peers {
            advertise: advertise.to_owned(),
            cell,
            published,
            raft: OnceLock::new(),
            runtime: Handle::current(),
            told: Mutex::default(),
            news: Notify::new(),
            expelled: CancellationToken::new(),
            channels: Mutex::default(),
            links: Mutex::default(),
        })
    }

    /// Tells which replica learns of lost messages. Messages are only sent by that replica, so after it was started.
    pub fn attach(&self, raft: Raft) {
        // A second replica in the same process would have peers of its own.
        let _ = self.raft.set(raft);
    }

    pub(super) async fn report_unreachable(&self, peer: u64) {
        if let Some(raft) = self.raft.get() {
            raft.report_unreachable(peer).await;
        }
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A channel to a controller. It connects when it is used, and again when it has to.
    ///
    /// # Errors
    /// When its address isn't known, or is none.
    pub fn channel(&self, id: u64) -> Result<Channel, PeersError> {
        let address = self.address(id).ok_or(PeersError::Unknown(ControllerId(id)))?;
        let mut channels = self.channels.lock();
        if let Some((known, channel)) = channels.get(&id)
            && *known == address
        {
            return Ok(channel.clone());
        }
        let _runtime = self.runtime.enter();
        let made = channel(&address, &self.cell)?;
        channels.insert(id, (address, made.clone()));
        Ok(made)
    }

    /// A new channel to a controller, of the current runtime and for the caller alone.
    pub(super) fn dial(&self, id: u64) -> Result<Channel, PeersError> {
        let address = self.address(id).ok_or(PeersError::Unknown(ControllerId(id)))?;
        Ok(channel(&address, &self.cell)?)
    }

    /// What a peer last said of itself counts before what the cluster's table says, which may be older, or not there
    /// yet on a controller that has just joined.
    fn address(&self, id: u64) -> Option<String> {
        if let Some(told) = self.told.lock().get(&id) {
            return Some(told.address.clone());
        }
        let state = self.published.state();
        state.controller(ControllerId(id)).map(|controller| controller.address.clone())
    }

    /// Nobody answers where a peer said it is: back to the cluster's table, if that knows it.
    pub(super) fn doubt(&self, id: u64) {
        if self.published.state().controller(ControllerId(id)).is_some() {
            self.told.lock().remove(&id);
        }
        self.channels.lock().remove(&id);
    }

    /// Adds what this controller says of itself to a stream's metadata.
    pub(super) fn introduce(&self, metadata: &mut MetadataMap) {
        for (key, value) in [(ADDRESS, self.advertise.as_str()), (VERSION, OWN_VERSION)] {
            // An address that can't stand in a header was refused when this controller was configured.
            if let Ok(value) = value.parse() {
                metadata.insert(key, value);
            }
        }
    }

    /// Notes what a peer says of itself.
    pub(super) fn hear(&self, id: u64, metadata: &MetadataMap) {
        let value = |key| metadata.get(key)?.to_str().ok().filter(|value| value.len() <= MAX_TOLD);
        let (Some(address), Some(version)) = (value(ADDRESS), value(VERSION)) else { return };
        let told = Told { address: address.to_owned(), version: version.to_owned() };
        let before = self.told.lock().insert(id, told.clone());
        if before.as_ref() != Some(&told) {
            self.news.notify_one();
        }
    }

    /// What the peers have said of themselves, by id.
    #[must_use]
    pub fn told(&self) -> BTreeMap<u64, Told> {
        self.told.lock().iter().map(|(id, told)| (*id, told.clone())).collect()
    }

    /// Refuses a controller that was a member and is none any more, in a way that it will understand. To be asked about
    /// those that Raft doesn't know: one that is being removed still has its say.
    ///
    /// # Errors
    /// When it was removed.
    pub(super) fn refuse_removed(&self, id: ControllerId) -> Result<(), Status> {
        let state = self.published.state();
        let made = state.controllers().next().is_some();
        if !made || state.controller(id).is_some() || !state.has_handed_out(id.0) {
            return Ok(());
        }
        let mut refusal = Status::permission_denied(format!("controller {id} was removed from the cluster"));
        refusal.metadata_mut().insert(REMOVED, MetadataValue::from_static("yes"));
        Err(refusal)
    }

    /// Takes note if a peer's refusal says that this controller is no member any more.
    pub(super) fn heed(&self, refusal: &Status) {
        if refusal.metadata().contains_key(REMOVED) {
            self.expelled.cancel();
        }
    }

    /// Waits until a peer says that this controller is no member any more.
    pub async fn expelled(&self) {
        self.expelled.cancelled().await;
    }

    /// Waits until a peer says something new of itself. For one waiter.
    pub async fn news(&self) {
        self.news.notified().await;
    }
}
