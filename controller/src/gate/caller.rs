//! Who asks: the peer at the other end, or whom another controller forwards for.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tonic::{Request, Status, body::Body};
use wharf_cluster::ids::ControllerId;
use wharf_identity::{Identity, Peer, Role, require_role};

/// Names whom a controller forwards for: `role id`, or `-` for one without a certificate.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("wharf-forwarded-for");
const NOBODY: &str = "-";

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    peer: Option<Peer>,
    forwarded: Option<Forwarded>,
}

#[derive(Clone, Debug)]
struct Forwarded {
    identity: Option<Identity>,
}

impl Caller {
    /// Who makes this request. What it says of others counts only if a controller says it, one that is a member still.
    ///
    /// # Errors
    /// When a controller that isn't a member forwards, or forwards for somebody that can't be.
    pub fn of(
        request: &mut http::Request<Body>,
        is_member: impl Fn(ControllerId) -> bool,
    ) -> Result<Self, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let said = request.headers_mut().remove(FORWARDED_FOR);
        let identity = peer.as_ref().and_then(Peer::identity);
        let (Some(said), Some(controller)) = (said, identity.filter(|peer| peer.role == Role::Controller))
        else {
            return Ok(Caller { peer, forwarded: None });
        };
        if !controller.id.parse().is_ok_and(is_member) {
            // The caller may do better with another controller.
            return Err(Status::unavailable(format!(
                "{controller} is not a member of this cluster any more"
            )));
        }
        let malformed = || Status::invalid_argument("wharf-forwarded-for: must be a role and an id");
        let said = said.to_str().map_err(|_| malformed())?;
        let identity = match said.split_once(' ') {
            _ if said == NOBODY => None,
            Some((role, id)) => {
                let role = role.parse().map_err(|_| malformed())?;
                Some(Identity::new(&controller.cluster, role, id).map_err(|_| malformed())?)
            }
            None => return Err(malformed()),
        };
        Ok(Caller { peer, forwarded: Some(Forwarded { identity }) })
    }

    /// Whom the caller's certificate names, if there is one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match &self.forwarded {
            Some(forwarded) => forwarded.identity.as_ref(),
            None => self.peer.as_ref().and_then(Peer::identity),
        }
    }

    /// The other end of the connection.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Whether another controller passed this call on.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        self.forwarded.is_some()
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.peer
            .as_ref()
            .map_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), Peer::remote_addr)
    }

    /// Refuses unless the caller has one of these roles; none of them means that anybody may.
    ///
    /// # Errors
    /// When it hasn't, or its certificate has expired.
    pub fn require(&self, roles: &[Role]) -> Result<(), Status> {
        if roles.is_empty() {
            return Ok(());
        }
        let Some(forwarded) = &self.forwarded else {
            return match &self.peer {
                Some(peer) => peer.require(roles).map(drop),
                None => require_role(&Request::new(()), roles).map(drop),
            };
        };
        // The controller that forwards has checked the certificate's dates.
        match &forwarded.identity {
            Some(identity) if roles.contains(&identity.role) => Ok(()),
            Some(identity) => Err(Status::permission_denied(format!("{identity} may not make this call"))),
            None => Err(Status::unauthenticated("this call needs a client certificate of this cluster")),
        }
    }

    /// Adds to `headers` whom the call is forwarded for.
    pub fn describe(&self, headers: &mut HeaderMap) {
        let text = match self.identity() {
            Some(identity) => HeaderValue::try_from(format!("{} {}", identity.role, identity.id)).ok(),
            None => None,
        };
        headers.insert(FORWARDED_FOR, text.unwrap_or(HeaderValue::from_static(NOBODY)));
    }

    /// The caller of a request that came through the gate.
    ///
    /// # Errors
    /// When it didn't.
    pub fn expect<T>(request: &Request<T>) -> Result<&Caller, Status> {
        request.extensions().get().ok_or_else(|| Status::internal("the call didn't come through the gate"))
    }
}
