//! Passing a call on to the leader, so that any controller takes any call.
//!
//! The request's body is read before it is passed on (each call that goes to the leader has one bounded message), so
//! that the call can be made again when the leader is lost underway or an election goes on. That is safe: a write
//! carries a request id, and happens once. The answer is passed on as it comes.

use super::{Caller, Local};
use crate::{core::LEADER_PATIENCE, leadership::Leadership, replica::Published, transport::Peers};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Status, body::Body};
use tower::{Service, ServiceExt};
use wharf_cluster::ids::ControllerId;

/// The largest request that is passed on; the log takes less.
const MAX_REQUEST: usize = 8 << 20;
/// The largest request of somebody without a certificate.
const MAX_STRANGERS_REQUEST: usize = 256 << 10;
/// What is waited before a call is made again, unless the leader changes before.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Knows the leader, and the way there.
pub struct Forwarder {
    id: ControllerId,
    leadership: watch::Receiver<Leadership>,
    published: Arc<Published>,
    peers: Arc<Peers>,
}

impl Forwarder {
    /// The forwarder of controller `id`.
    #[must_use]
    pub fn new(
        id: ControllerId,
        leadership: watch::Receiver<Leadership>,
        published: Arc<Published>,
        peers: Arc<Peers>,
    ) -> Self {
        Forwarder { id, leadership, published, peers }
    }

    /// Whether this controller is a member, as far as is known here.
    pub(super) fn knows(&self, id: ControllerId) -> bool {
        self.published.state().controller(id).is_some()
    }

    /// Has the call answered by the leader: by `here` if that is this controller.
    pub(super) async fn at_leader(
        &self,
        here: impl Local,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let (parts, body) = request.into_parts();
        let stranger = parts.extensions.get::<Caller>().is_none_or(|caller| caller.identity().is_none());
        let limit = if stranger { MAX_STRANGERS_REQUEST } else { MAX_REQUEST };
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return Status::resource_exhausted(format!("the request can't be read: {error}")).into_http();
            }
        };
        let call = Call { parts, body };
        let deadline = Instant::now() + LEADER_PATIENCE;
        let mut leadership = self.leadership.clone();
        loop {
            let now = *leadership.borrow_and_update();
            let answer = self.attempt(now, here.clone(), &call, &mut leadership).await;
            if !is_unavailable(&answer) || Instant::now() + RETRY_PAUSE >= deadline {
                return answer;
            }
            // Whichever comes first; a leadership that can't change any more is as good as a pause.
            let _ = tokio::time::timeout(RETRY_PAUSE, leadership.changed()).await;
        }
    }

    async fn attempt(
        &self,
        now: Leadership,
        mut here: impl Local,
        call: &Call,
        leadership: &mut watch::Receiver<Leadership>,
    ) -> http::Response<Body> {
        if now.leading {
            let ready = match here.ready().await {
                Ok(ready) => ready,
                Err(never) => match never {},
            };
            return match ready.call(call.request(true)).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
        }
        let leader = match now.leader {
            // Elected, but still catching up with what earlier leaders committed.
            None => {
                return unavailable(
                    "no leader is known; an election may be under way, or most controllers are down",
                );
            }
            Some(id) if id == self.id.0 => return unavailable("this controller has only just become leader"),
            Some(_) if call.is_forwarded() => {
                return unavailable("this controller is not the leader any more");
            }
            Some(id) => id,
        };
        let mut channel = match self.peers.channel(leader) {
            Ok(channel) => channel,
            Err(error) => return unavailable(&format!("the leader can't be reached: {error}")),
        };
        let answer = async {
            let ready = channel.ready().await?;
            ready.call(call.request(false)).await
        };
        tokio::select! {
            answer = answer => answer.unwrap_or_else(|error| {
                let reason = wharf_identity::explain(&error).unwrap_or_else(|| error.to_string());
                unavailable(&format!("the leader, controller {}, can't be reached: {reason}", ControllerId(leader)))
            }),
            _ = leadership.wait_for(|next| next.leader != now.leader || next.term != now.term) => {
                unavailable("the leader changed")
            }
        }
    }
}

/// A call that can be made more than once.
struct Call {
    parts: http::request::Parts,
    body: Bytes,
}

impl Call {
    fn is_forwarded(&self) -> bool {
        self.parts.extensions.get::<Caller>().is_some_and(Caller::is_forwarded)
    }

    fn request(&self, here: bool) -> http::Request<Body> {
        let mut request = http::Request::new(Body::new(Full::new(self.body.clone())));
        *request.method_mut() = self.parts.method.clone();
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = self.parts.headers.clone();
        *request.uri_mut() = self.parts.uri.clone();
        if here {
            *request.extensions_mut() = self.parts.extensions.clone();
        } else {
            let path = self.parts.uri.path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(http::Uri::default, http::Uri::from);
            request.headers_mut().remove(http::header::HOST);
            request.headers_mut().remove(http::header::CONTENT_LENGTH);
            if let Some(caller) = self.parts.extensions.get::<Caller>() {
                caller.describe(request.headers_mut());
            }
        }
        request
    }
}

fn unavailable(reason: &str) -> http::Response<Body> {
    Status::unavailable(format!("{reason}; try again")).into_http()
}

/// Whether an answer is that there is none now. Only an answer that has no message says so in its headers.
fn is_unavailable(answer: &http::Response<Body>) -> bool {
    Status::from_header_map(answer.headers()).is_some_and(|status| status.code() == Code::Unavailable)
}
