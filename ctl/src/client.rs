//! Calls to the cluster: any controller that answers, and the next one when it dies.

use crate::{
    contexts::Contexts,
    failure::{Failure, Result},
};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Response, Status, transport::Channel};
use wharf_identity::{Credentials, CredentialsCell, Dialer};
use wharf_proto::v1::{GetRequest, Kind, Object, control_api_client::ControlApiClient, object};

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Largest message taken: lists of many tasks are long.
const MESSAGE: usize = 256 << 20;

/// A client of one cluster.
#[derive(Clone)]
pub struct Client {
    dialer: Dialer,
    timeout: Duration,
    /// The context's credentials.
    pub credentials: Credentials,
    /// The context's registry.
    pub registry: Option<String>,
}

/// The generated client.
pub type Api = ControlApiClient<Channel>;

impl Client {
    /// A client of the context that is meant; `controllers` take the place of its addresses.
    ///
    /// # Errors
    /// When there is no such context, or it can't be read.
    pub fn open(context: Option<&str>, controllers: &[String], timeout: Duration) -> Result<Self> {
        let contexts = Contexts::find()?;
        let name = contexts.choose(context)?;
        let found = contexts.load(&name)?;
        let credentials =
            found.credentials().map_err(|error| Failure::failed(crate::contexts::describe(&error)))?;
        let addresses = if controllers.is_empty() { found.addresses } else { controllers.to_vec() };
        let dialer = Dialer::new(addresses, CredentialsCell::new(credentials.clone()));
        let registry = contexts.settings()?.registries.remove(&name);
        Ok(Client { dialer, timeout, credentials, registry })
    }

    /// Makes a call, again and elsewhere if a connection breaks, until the timeout. Writes carry a request id, so that
    /// a retry happens once.
    ///
    /// # Errors
    /// What the cluster answers, or that it doesn't.
    pub async fn call<T, F>(&self, call: impl Fn(Api) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE;
        let mut last = Failure::unreachable(format!("no controller answered within {:?}", self.timeout));
        loop {
            match timeout_at(deadline, self.once(&call)).await {
                Err(_) => return Err(last),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err((failure, false))) => return Err(failure),
                Ok(Err((failure, true))) => last = failure,
            }
            if Instant::now() + pause >= deadline {
                return Err(last);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try; the flag says whether another one may do better.
    async fn once<T, F>(&self, call: &impl Fn(Api) -> F) -> std::result::Result<T, (Failure, bool)>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let connected = self.dialer.connect().await.map_err(|error| {
            let final_error = matches!(
                error,
                wharf_identity::DialError::Expired { .. } | wharf_identity::DialError::NoAddress
            );
            (Failure::from(error), !final_error)
        })?;
        let api = ControlApiClient::new(connected.channel).max_decoding_message_size(MESSAGE);
        match call(api).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let broken =
                    matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::ResourceExhausted)
                        || (status.code() == Code::Unknown && std::error::Error::source(&status).is_some());
                if broken {
                    self.dialer.demote(&connected.address);
                }
                let mut failure = Failure::from(status);
                if broken {
                    failure.code = crate::failure::UNREACHABLE;
                }
                Err((failure, broken))
            }
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

pick!(services, Service, wharf_proto::v1::Service);
pick!(tasks, Task, wharf_proto::v1::Task);
pick!(nodes, Node, wharf_proto::v1::Node);
pick!(events, Event, wharf_proto::v1::Event);
pick!(controllers, Controller, wharf_proto::v1::Controller);
