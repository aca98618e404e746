//! The gate that every call passes: who asks, whether that role may, and which controller has to answer.
//!
//! It works on HTTP messages, before anything is decoded, so that there is one place for all services and methods.

mod access;
mod caller;
mod forward;

pub use access::{Place, Rule, rule};
pub use caller::Caller;
pub use forward::Forwarder;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Status, body::Body};
use tower::Service;

/// Wraps the services of a controller.
#[derive(Clone)]
pub struct Gate<S> {
    services: S,
    forwarder: Arc<Forwarder>,
}

impl<S> Gate<S> {
    /// A gate before `services`.
    pub fn new(services: S, forwarder: Arc<Forwarder>) -> Self {
        Gate { services, forwarder }
    }
}

/// A service that answers calls on this controller.
pub trait Local:
    Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Local for S where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

impl<S: Local> Service<http::Request<Body>> for Gate<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The clone is the one that may not be ready; take the one that is.
        let waiting = self.services.clone();
        let mut services = std::mem::replace(&mut self.services, waiting);
        let forwarder = self.forwarder.clone();
        Box::pin(async move {
            let place = match admit(&mut request, &forwarder) {
                Ok(place) => place,
                Err(status) => return Ok(status.into_http()),
            };
            match place {
                Place::Here => services.call(request).await,
                Place::Leader => Ok(forwarder.at_leader(services, request).await),
            }
        })
    }
}

/// Settles who asks, and whether they may.
fn admit(request: &mut http::Request<Body>, forwarder: &Forwarder) -> Result<Place, Status> {
    let caller = Caller::of(request, |id| forwarder.knows(id))?;
    let rule = rule(request.uri().path());
    if let Err(refusal) = caller.require(rule.roles) {
        tracing::warn!(
            path = request.uri().path(), remote = %caller.remote(), reason = refusal.message(), "refused a call"
        );
        return Err(refusal);
    }
    request.extensions_mut().insert(caller);
    Ok(rule.place)
}
