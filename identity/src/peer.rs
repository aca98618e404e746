//! Who made a request, and whether that role may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Status};

use crate::certificate::{Leaf, moment};
use crate::role::{Identity, Role};

/// The other end of a connection, as tonic puts it into each request's extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Shared: each request of a connection gets a copy.
    leaf: Option<Arc<Leaf>>,
    remote_addr: SocketAddr,
}

impl Peer {
    pub(crate) fn new(leaf: Option<Leaf>, remote_addr: SocketAddr) -> Self {
        Self { leaf: leaf.map(Arc::new), remote_addr }
    }

    /// Whom its certificate names, if that has one of these roles and still holds.
    pub fn require(&self, allowed: &[Role]) -> Result<&Identity, Status> {
        check(self.leaf(), allowed, SystemTime::now())
    }

    /// Whom its certificate names; `None` if it presented none.
    pub fn identity(&self) -> Option<&Identity> {
        self.leaf().map(|leaf| &leaf.identity)
    }

    /// What its certificate says; `None` if it presented none.
    pub fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_deref()
    }

    /// Where it connects from.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote_addr
    }
}

/// Whom a request's client certificate names, if it presented one.
pub fn peer<T>(request: &Request<T>) -> Option<&Identity> {
    request.extensions().get::<Peer>().and_then(Peer::identity)
}

/// Where a request comes from.
pub fn remote_addr<T>(request: &Request<T>) -> Option<SocketAddr> {
    request.extensions().get::<Peer>().map(Peer::remote_addr)
}

/// The identity that a request is made with, if its role is one of those allowed and its
/// certificate still holds.
pub fn require_role<T>(request: &Request<T>, allowed: &[Role]) -> Result<Identity, Status> {
    let leaf = request.extensions().get::<Peer>().and_then(Peer::leaf);
    check(leaf, allowed, SystemTime::now()).cloned()
}

fn check<'a>(leaf: Option<&'a Leaf>, allowed: &[Role], now: SystemTime) -> Result<&'a Identity, Status> {
    let Some(Leaf { identity, not_after, .. }) = leaf else {
        return Err(Status::unauthenticated(
            "this call needs a client certificate of this cluster: use the context that the first \
             controller wrote, or join with a token",
        ));
    };
    if now > *not_after {
        return Err(Status::unauthenticated(format!(
            "the certificate of {identity} expired at {}; join again with a token",
            moment(*not_after)
        )));
    }
    if !allowed.contains(&identity.role) {
        let wanted: Vec<&str> = allowed.iter().map(|role| role.with_article()).collect();
        return Err(Status::permission_denied(format!(
            "{identity} may not make this call: it takes the certificate of {}",
            wanted.join(" or ")
        )));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    #[test]
    fn role_and_date_decide_and_the_refusal_says_which() {
        let now = SystemTime::now();
        let later = now + Duration::from_secs(60);
        let identity = Identity::new("c1", Role::Agent, "n1").unwrap();
        let leaf =
            Leaf { identity, names: Vec::new(), not_before: now, not_after: now + Duration::from_secs(30) };

        assert_eq!(check(Some(&leaf), &[Role::Agent], now).unwrap().id, "n1");
        let refused = check(Some(&leaf), &[Role::Admin, Role::Controller], now).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(
            refused.message(),
            "agent n1 may not make this call: it takes the certificate of an admin or a controller"
        );
        let expired = check(Some(&leaf), &[Role::Agent], later).unwrap_err();
        assert_eq!(expired.code(), Code::Unauthenticated);
        assert!(expired.message().contains("expired at"), "{expired}");
        assert_eq!(check(None, &[Role::Agent], now).unwrap_err().code(), Code::Unauthenticated);
        // A request that did not come over our TLS has no peer at all.
        assert_eq!(
            require_role(&Request::new(()), &[Role::Agent]).unwrap_err().code(),
            Code::Unauthenticated
        );
    }
}
