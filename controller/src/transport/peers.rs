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
use wharf_cluster::{ids::ControllerId, level::Level};
use wharf_identity::{CredentialsCell, DialError, channel};
use wharf_proto::v1::{Greeting, raft_api_client::RaftApiClient};

const ADDRESS: &str = "wharf-address";
const VERSION: &str = "wharf-version";
const LEVEL: &str = "wharf-level";
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
    /// The most that it knows.
    pub level: Level,
    /// Whether the stream on which it said so is still open: so it is still the same program.
    pub connected: bool,
}

/// What was heard of a peer.
struct Heard {
    told: Told,
    /// Counts its streams.
    stream: u64,
    /// Nobody answers at the address that it gave.
    doubted: bool,
}

/// The other controllers.
pub struct Peers {
    advertise: String,
    level: Level,
    cell: CredentialsCell,
    published: Arc<Published>,
    raft: OnceLock<Raft>,
    runtime: Handle,
    heard: Mutex<HashMap<u64, Heard>>,
    news: Notify,
    expelled: CancellationToken,
    channels: Mutex<HashMap<u64, (String, Channel)>>,
    pub(super) links: Mutex<HashMap<u64, Link>>,
}

impl Peers {
    /// The peers of a controller that is reached at `advertise` and knows no more than `level`. Calls to them and
    /// snapshots run on the current runtime.
    #[must_use]
    pub fn new(advertise: &str, level: Level, cell: CredentialsCell, published: Arc<Published>) -> Arc<Self> {
        Arc::new(Peers {
            advertise: advertise.to_owned(),
            level,
            cell,
            published,
            raft: OnceLock::new(),
            runtime: Handle::current(),
            heard: Mutex::default(),
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
        if let Some(heard) = self.heard.lock().get(&id).filter(|heard| !heard.doubted) {
            return Some(heard.told.address.clone());
        }
        let state = self.published.state();
        state.controller(ControllerId(id)).map(|controller| controller.address.clone())
    }

    /// Nobody answers where a peer said it is: back to the cluster's table, if that knows it.
    pub(super) fn doubt(&self, id: u64) {
        if self.published.state().controller(ControllerId(id)).is_some()
            && let Some(heard) = self.heard.lock().get_mut(&id)
        {
            heard.doubted = true;
        }
        self.channels.lock().remove(&id);
    }

    /// Adds what this controller says of itself to a stream's metadata.
    pub(super) fn introduce(&self, metadata: &mut MetadataMap) {
        let level = self.level.to_string();
        for (key, value) in [(ADDRESS, self.advertise.as_str()), (VERSION, OWN_VERSION), (LEVEL, &level)] {
            // An address that can't stand in a header was refused when this controller was configured.
            if let Ok(value) = value.parse() {
                metadata.insert(key, value);
            }
        }
    }

    /// Notes what a peer says of itself on a stream that it has opened, for as long as that is open.
    pub(super) fn hear(self: &Arc<Self>, id: u64, metadata: &MetadataMap) -> Option<Hearing> {
        let value = |key| metadata.get(key)?.to_str().ok().filter(|value| value.len() <= MAX_TOLD);
        let (address, version) = (value(ADDRESS)?.to_owned(), value(VERSION)?.to_owned());
        // Versions before levels don't speak of them.
        let level = value(LEVEL).and_then(|level| level.parse().ok()).map_or(Level::FIRST, Level);
        let told = Told { address, version, level, connected: true };
        let mut heard = self.heard.lock();
        let before = heard.get(&id);
        let stream = before.map_or(0, |before| before.stream) + 1;
        if before.is_none_or(|before| before.told != told || before.doubted) {
            self.news.notify_one();
        }
        heard.insert(id, Heard { told, stream, doubted: false });
        Some(Hearing { peers: self.clone(), id, stream })
    }

    /// What the peers have said of themselves, by id.
    #[must_use]
    pub fn told(&self) -> BTreeMap<u64, Told> {
        self.heard.lock().iter().map(|(id, heard)| (*id, heard.told.clone())).collect()
    }

    /// Where the peers say that they are, but for those that don't answer there, by id.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<u64, String> {
        let heard = self.heard.lock();
        let trusted = heard.iter().filter(|(_, heard)| !heard.doubted);
        trusted.map(|(id, heard)| (*id, heard.told.address.clone())).collect()
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

    /// Asks a peer for nothing but its refusal, if this controller is no member any more.
    ///
    /// # Errors
    /// When it doesn't answer, or refuses.
    pub async fn greet(&self, id: u64) -> Result<(), Status> {
        let channel = self.channel(id).map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = RaftApiClient::new(channel).greet(Greeting {}).await;
        answer.map(drop).inspect_err(|refusal| self.heed(refusal))
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

/// A stream on which a peer has said who it is.
pub(super) struct Hearing {
    peers: Arc<Peers>,
    id: u64,
    stream: u64,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if let Some(heard) = self.peers.heard.lock().get_mut(&self.id)
            && heard.stream == self.stream
        {
            heard.told.connected = false;
        }
    }
}
