//! Calls to the cluster: any controller that answers, and the next one when it dies.

use crate::{
    contexts::{Contexts, describe},
    failure::{Failure, Result, UNREACHABLE},
    home::Home,
};
use std::{
    error::Error as _,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::{Code, Response, Status, transport::Channel};
use wharf_identity::{Connected, Credentials, CredentialsCell, DialError, Dialer};
use wharf_proto::v1::{GetRequest, Kind, Object, control_api_client::ControlApiClient, object};

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A person who waits longer is told why.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the end of a command waits for the list of controllers that its beginning asked for.
const LEARNING: Duration = Duration::from_secs(1);
/// Largest message taken: lists of many tasks are long.
const MESSAGE: usize = 256 << 20;

/// Whether a write has been sent.
static WRITTEN: AtomicBool = AtomicBool::new(false);

/// Whether this process has asked a cluster to change.
pub fn has_written() -> bool {
    WRITTEN.load(Ordering::Relaxed)
}

/// A client of one cluster.
pub struct Client {
    dialer: Dialer,
    link: Mutex<Link>,
    timeout: Duration,
    /// The context's name.
    pub context: String,
    /// The context's credentials.
    pub credentials: Credentials,
    /// The context's registry.
    pub registry: Option<String>,
}

/// What there is of a connection.
struct Link {
    /// The connection in use, if it is not known to be broken.
    connected: Option<Connected>,
    /// The context, until it has been asked whether it is complete; none if its addresses aren't used.
    home: Option<Home>,
    learning: Option<JoinHandle<()>>,
}

/// The generated client.
pub type Api = ControlApiClient<Channel>;

/// Why a try came to nothing.
struct Miss {
    failure: Failure,
    /// Whether another try may do better.
    again: bool,
}

impl Client {
    /// A client of the context that is meant; `controllers` take the place of its addresses.
    ///
    /// # Errors
    /// When there is no such context, or it can't be read.
    pub fn open(context: Option<&str>, controllers: &[String], timeout: Duration) -> Result<Self> {
        let contexts = Contexts::find()?;
        let name = contexts.choose(context)?;
        let found = contexts.load(&name)?;
        let credentials = found.credentials().map_err(|error| Failure::failed(describe(&error)))?;
        let registry = contexts.settings()?.registries.remove(&name);
        let (addresses, home) = if controllers.is_empty() {
            let addresses = found.addresses;
            (addresses.clone(), Some(Home { contexts, name: name.clone(), addresses }))
        } else {
            (controllers.to_vec(), None)
        };
        let dialer = Dialer::new(addresses, CredentialsCell::new(credentials.clone()));
        let link = Mutex::new(Link { connected: None, home, learning: None });
        Ok(Client { dialer, link, timeout, context: name, credentials, registry })
    }

    /// Sends a write, which carries a request id so that a retry happens once.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn write<R: Clone, T, F>(&self, request: R, write: impl Fn(Api, R) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        WRITTEN.store(true, Ordering::Relaxed);
        self.call(|api| write(api, request.clone())).await
    }

    /// Makes a call, again and elsewhere if a connection breaks, until the timeout.
    ///
    /// # Errors
    /// What the cluster answers, or that it doesn't.
    pub async fn call<T, F>(&self, call: impl Fn(Api) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let deadline = begun + self.timeout;
        let mut pause = PAUSE;
        let mut told = false;
        let mut last = Failure::unreachable(format!("no controller answered within {:?}", self.timeout));
        loop {
            match timeout_at(deadline, self.once(&call)).await {
                Err(_) => return Err(last),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Miss { failure, again: false })) => return Err(failure),
                Ok(Err(Miss { failure, again: true })) => last = failure,
            }
            if Instant::now() + pause >= deadline {
                return Err(last);
            }
            if begun.elapsed() >= SILENCE && !std::mem::replace(&mut told, true) {
                let left = deadline.duration_since(Instant::now()).as_secs();
                eprintln!("trying again for {left} s: {}", last.message);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a write that takes long and can't be made again, once.
    ///
    /// # Errors
    /// What the cluster answers, or that it doesn't in time.
    pub async fn write_once<T, F>(&self, patience: Duration, write: impl Fn(Api) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        WRITTEN.store(true, Ordering::Relaxed);
        match timeout(patience, self.once(&write)).await {
            Ok(answer) => answer.map_err(|miss| miss.failure),
            Err(_) => Err(Failure::unreachable(format!("no controller answered within {patience:?}"))),
        }
    }

    async fn once<T, F>(&self, call: &impl Fn(Api) -> F) -> std::result::Result<T, Miss>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let connected = self.connect().await.map_err(|error| {
            let again = !matches!(error, DialError::Expired { .. } | DialError::NoAddress);
            Miss { failure: Failure::from(error), again }
        })?;
        let api = ControlApiClient::new(connected.channel).max_decoding_message_size(MESSAGE);
        match call(api).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let again = may_pass(&status);
                let mut failure = Failure::from(status);
                if again {
                    self.give_up(&connected.address).await;
                    failure.code = UNREACHABLE;
                }
                Err(Miss { failure, again })
            }
        }
    }

    /// The controllers, as far as they are known.
    pub fn addresses(&self) -> Vec<String> {
        self.dialer.addresses()
    }

    async fn connect(&self) -> std::result::Result<Connected, DialError> {
        let mut link = self.link.lock().await;
        if let Some(connected) = &link.connected {
            return Ok(connected.clone());
        }
        let connected = self.dialer.connect().await?;
        link.connected = Some(connected.clone());
        if let Some(home) = link.home.take() {
            link.learning = Some(tokio::spawn(home.learn(connected.clone(), self.dialer.clone())));
        }
        Ok(connected)
    }

    /// Waits a little until the context is up to date.
    pub async fn learned(&self) {
        if let Some(learning) = self.link.lock().await.learning.take() {
            // What takes longer is left to the next command.
            let _ = timeout(LEARNING, learning).await;
        }
    }

    /// Begins with another controller next time.
    async fn give_up(&self, address: &str) {
        self.link.lock().await.connected.take_if(|held| held.address == address);
        self.dialer.demote(address);
    }

    /// The stream of a call that broke off is of a controller that is better not asked again just now.
    pub async fn give_up_current(&self) {
        let held = self.link.lock().await.connected.as_ref().map(|held| held.address.clone());
        if let Some(address) = held {
            self.give_up(&address).await;
        }
    }

    /// Lists objects.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, request: &GetRequest) -> Result<Vec<Object>> {
        Ok(self.call(|mut api| async move { api.get(request.clone()).await }).await?.objects)
    }
}

/// Whether the same call may do better later or elsewhere: the connection broke, or the controller can't answer now.
pub fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => true,
        // With a source these were made at our end, of a connection that broke.
        Code::Cancelled | Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

/// A request id for one write and all its retries.
pub fn request_id() -> tonic::codegen::Bytes {
    tonic::codegen::Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())
}

/// A request for all objects of a kind.
pub fn all(kind: Kind) -> GetRequest {
    GetRequest { kind: kind.into(), ..GetRequest::default() }
}

macro_rules! pick {
    ($name:ident, $variant:ident, $type:ty) => {
        /// The objects of this kind in a list.
        pub fn $name(objects: Vec<Object>) -> Vec<$type> {
            objects
                .into_iter()
                .filter_map(|object| match object.object {
                    Some(object::Object::$variant(found)) => Some(found),
                    _ => None,
                })
                .collect()
        }
    };
}

pick!(stacks, Stack, wharf_proto::v1::Stack);
pick!(services, Service, wharf_proto::v1::Service);
pick!(tasks, Task, wharf_proto::v1::Task);
pick!(nodes, Node, wharf_proto::v1::Node);
pick!(events, Event, wharf_proto::v1::Event);
pick!(controllers, Controller, wharf_proto::v1::Controller);
