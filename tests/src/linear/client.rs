//! A client that uses stacks as registers, through the public API.

use super::history::{Call, Outcome};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use wharf_identity::{ClientContext, CredentialsCell, channel, explain};
use wharf_proto::v1::{
    ApplyStackRequest, GetRequest, Kind, StackSpec, VolumeSpec, control_api_client::ControlApiClient, object,
};

/// The volume whose label holds a register's value.
const VOLUME: &str = "register";
/// The label.
const LABEL: &str = "value";
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How often a write is tried, with one request id.
const ATTEMPTS: usize = 3;

/// How reads are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As the API promises: linearizable.
    Linearizable,
    /// From the controller's own state, which may lag.
    Stale,
}

/// Which controller takes a client's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Always this one.
    Pinned(usize),
    /// Any, another for every attempt.
    Rotating,
}

/// A client of a cluster.
#[derive(Clone, Debug)]
pub struct Client {
    channels: Vec<ControlApiClient<Channel>>,
    route: Route,
}

impl Client {
    /// A client with the credentials of `context`, of the controllers at its addresses. It dials when it first calls.
    ///
    /// # Panics
    /// When the context can't be used.
    #[must_use]
    pub fn new(context: &ClientContext, route: Route) -> Self {
        let credentials = context.credentials().expect("the admin's context holds credentials");
        let cell = CredentialsCell::new(credentials);
        let dial = |address: &String| {
            ControlApiClient::new(channel(address, &cell).expect("a context's addresses are addresses"))
        };
        Client { channels: context.addresses.iter().map(dial).collect(), route }
    }

    fn pick(&self) -> usize {
        match self.route {
            Route::Pinned(index) => index,
            Route::Rotating => fastrand::usize(..self.channels.len()),
        }
    }

    /// Makes `call` on the register `key`; gives what came of it and the controller that was asked last.
    pub async fn call(&mut self, key: &str, call: Call, reading: Reading) -> (Outcome, usize) {
        match call {
            Call::Read => self.read(key, reading).await,
            Call::Write { value } => self.write(key, value, None).await,
            Call::Cas { expected, value } => self.write(key, value, Some(expected)).await,
        }
    }

    async fn read(&mut self, key: &str, reading: Reading) -> (Outcome, usize) {
        let at = self.pick();
        let request = GetRequest {
            kind: Kind::Stack.into(),
            names: vec![key.to_owned()],
            stale: reading == Reading::Stale,
            ..GetRequest::default()
        };
        let answer = timeout(PATIENCE, self.channels[at].get(Request::new(request))).await;
        let outcome = match answer {
            Ok(Ok(answer)) => match answer.into_inner().objects.pop().and_then(|object| object.object) {
                Some(object::Object::Stack(stack)) => {
                    let label = stack.volumes.get(VOLUME).and_then(|volume| volume.labels.get(LABEL));
                    let value = label.and_then(|text| text.parse().ok());
                    Outcome::Read { value, version: stack.version }
                }
                other => panic!("a stack was asked for, and this came: {other:?}"),
            },
            Ok(Err(status)) if status.code() == Code::NotFound => Outcome::Read { value: None, version: 0 },
            Ok(Err(_)) | Err(_) => Outcome::Failed,
        };
        (outcome, at)
    }

    /// A write is tried again as every client of the API tries: with the same request id, so that it happens once.
    async fn write(&mut self, key: &str, value: u64, expected_version: Option<u64>) -> (Outcome, usize) {
        let volume = VolumeSpec {
            labels: BTreeMap::from([(LABEL.to_owned(), value.to_string())]),
            ..VolumeSpec::default()
        };
        let spec = StackSpec {
            name: key.to_owned(),
            volumes: BTreeMap::from([(VOLUME.to_owned(), volume)]),
            ..StackSpec::default()
        };
        let request = ApplyStackRequest {
            request_id: fastrand::u128(..).to_be_bytes().to_vec().into(),
            spec: Some(spec),
            expected_version,
        };
        // Some clients give up at once, so that operations stay open; the others come back.
        let attempts = if fastrand::bool() { ATTEMPTS } else { 1 };
        let mut sent = false;
        let mut at = 0;
        for _ in 0..attempts {
            at = self.pick();
            let answer =
                timeout(PATIENCE, self.channels[at].apply_stack(Request::new(request.clone()))).await;
            match answer {
                Ok(Ok(answer)) => return (Outcome::Done { version: answer.into_inner().version }, at),
                Ok(Err(status)) if status.code() == Code::Aborted => return (Outcome::Conflict, at),
                Ok(Err(status)) if did_not_happen(&status) => {}
                Ok(Err(_)) | Err(_) => sent = true,
            }
        }
        (if sent { Outcome::Unknown } else { Outcome::Failed }, at)
    }
}

/// Whether this attempt has certainly changed nothing: it was refused before anything was proposed, or there was no
/// connection to send it on.
fn did_not_happen(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted || explain(status).is_some()
}
