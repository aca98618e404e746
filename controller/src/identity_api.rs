//! How a machine gets its certificate: by a token when it joins, by the certificate it has when that is to be renewed.

use crate::{
    authority::{authority, known_tokens, role, sign, sign_again},
    core::Core,
    gate::Caller,
    propose::{Done, WriteError},
};
use ring::digest::{SHA256, digest};
use std::{sync::Arc, time::SystemTime};
use tonic::{Request, Response, Status};
use wharf_cluster::{
    command::Command,
    ids::{ControllerId, NodeId, RequestId},
    level::Level,
    model::{JoinRole, NodeDescription},
    state::{Rejected, Reply, State},
};
use wharf_identity::{Identity, Leaf, Role, SubjectName, admit};
use wharf_proto::{
    convert::join_role,
    v1::{
        JoinRequest, JoinResponse, RenewRequest, RenewResponse,
        identity_api_server::{IdentityApi, IdentityApiServer},
    },
};

/// Longest host name or address taken from a joiner.
const MAX_NAME: usize = 253;
/// Most names in a registry's certificate.
const MAX_NAMES: usize = 32;

/// Answers joiners, and members who renew.
pub struct IdentityService {
    core: Arc<Core>,
}

impl IdentityService {
    /// The service of this controller.
    #[must_use]
    pub fn server(core: Arc<Core>) -> IdentityApiServer<Self> {
        IdentityApiServer::new(IdentityService { core })
    }

    async fn admitted(&self, wanted: JoinRole, request: JoinRequest) -> Result<JoinResponse, Status> {
        for name in [&request.name, &request.advertise_address].into_iter().chain(&request.names) {
            if name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return Err(Status::invalid_argument(format!("a name is longer than {MAX_NAME} characters")));
            }
        }
        let mut member = match wanted {
            JoinRole::Agent => self.agent(&request).await?,
            JoinRole::Controller => self.controller(&request).await?,
            JoinRole::Registry => registry(&request)?,
        };
        if let Ok(name) = SubjectName::from_address(&request.advertise_address) {
            member.names.push(name);
        }
        let state = self.core.published.state();
        let authority = authority(&state)?;
        let identity = Identity::new(authority.cluster(), role(wanted), &member.id)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let cert_pem = sign(&authority, &self.core.timings, &request.csr_pem, &identity, &member.names)?;
        Ok(JoinResponse {
            id: member.id,
            cert_pem,
            ca_pem: authority.certificate_pem().to_owned(),
            cluster_id: authority.cluster().to_owned(),
            raft_id: member.raft_id,
            controllers: state.controllers().map(|controller| controller.address.clone()).collect(),
        })
    }

    async fn agent(&self, request: &JoinRequest) -> Result<Member, Status> {
        let mut description: NodeDescription = match &request.description {
            Some(description) => description.clone().try_into()?,
            None => NodeDescription::default(),
        };
        if description.hostname.is_empty() {
            description.hostname.clone_from(&request.name);
        }
        let command = Command::RegisterNode { description };
        match self.core.proposer.propose(Some(request_id(&request.csr_pem)), command).await?.reply {
            Reply::Node(id) => Ok(Member { id: id.to_string(), raft_id: 0, names: Vec::new() }),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn controller(&self, request: &JoinRequest) -> Result<Member, Status> {
        if !is_address(&request.advertise_address) {
            return Err(Status::invalid_argument(format!(
                "\"{}\" is not an address at which other controllers could reach this one: give --advertise HOST:PORT",
                request.advertise_address
            )));
        }
        let command = Command::AddController {
            name: request.name.clone(),
            address: request.advertise_address.clone(),
            level: Level(u8::try_from(request.level.max(1)).unwrap_or(u8::MAX)),
        };
        let added = self.core.proposer.propose(Some(request_id(&request.csr_pem)), command).await;
        let id = match (added, self.never_heard(request)) {
            (Ok(Done { reply: Reply::Controller(id), .. }), _) => id,
            (Ok(done), _) => return Err(unexpected(&done.reply)),
            (Err(WriteError::Rejected(Rejected::Conflict(_))), Some(id)) => id,
            (Err(error), _) => return Err(error.into()),
        };
        Ok(Member { id: id.to_string(), raft_id: id.0, names: Vec::new() })
    }

    /// The id that the same controller got before, if it never came to use it: it was interrupted while it joined, and
    /// begins anew with another key. It doesn't vote and has acknowledged nothing, so there is nothing it could forget.
    fn never_heard(&self, request: &JoinRequest) -> Option<ControllerId> {
        let state = self.core.published.state();
        let known = state.controllers().find(|known| known.address == request.advertise_address)?;
        let status = self.core.raft.status();
        let status = status.borrow();
        let id = known.id.0;
        let votes = status.voters.contains(&id) || status.voters_outgoing.contains(&id);
        let silent = status.peers.get(&id).is_none_or(|peer| peer.matched == 0);
        (known.name == request.name && !votes && silent).then_some(known.id)
    }
}

/// What a joiner has become.
struct Member {
    id: String,
    raft_id: u64,
    names: Vec<SubjectName>,
}

fn registry(request: &JoinRequest) -> Result<Member, Status> {
    if request.names.len() > MAX_NAMES {
        return Err(Status::invalid_argument(format!("names: a registry has at most {MAX_NAMES} names")));
    }
    let names = request
        .names
        .iter()
        .map(|name| SubjectName::from_address(name))
        .collect::<Result<_, _>>()
        .map_err(|error| Status::invalid_argument(format!("names: {error}")))?;
    Ok(Member { id: request.name.clone(), raft_id: 0, names })
}

fn unexpected(reply: &Reply) -> Status {
    Status::internal(format!("the state machine answered a join with {reply:?}"))
}

/// Whether a text can be an address: a host and a port.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// The same for each attempt of a joiner, which keeps its key, and for no other.
fn request_id(csr_pem: &str) -> RequestId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, csr_pem.as_bytes()).as_ref()[..16]);
    RequestId(u128::from_be_bytes(bytes))
}

/// Refuses members that the cluster has removed.
fn still_member(state: &State, leaf: &Leaf) -> Result<(), Status> {
    let identity = &leaf.identity;
    let member = match identity.role {
        Role::Agent => identity.id.parse().is_ok_and(|id: NodeId| state.node(id).is_some()),
        Role::Controller => identity.id.parse().is_ok_and(|id: ControllerId| state.controller(id).is_some()),
        Role::Registry | Role::Admin => true,
    };
    if member {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "{identity} was removed from the cluster; empty its data directory and join again with a token"
    )))
}

#[tonic::async_trait]
impl IdentityApi for IdentityService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let remote = Caller::expect(&request)?.remote();
        let request = request.into_inner();
        let wanted = join_role(&request.role)?;
        let name: String = request.name.chars().take(MAX_NAME).collect();
        let state = self.core.published.state();
        if state.cluster().is_none() {
            return Err(Status::unavailable("the cluster is only being made; try again in a moment"));
        }
        if let Err(refusal) =
            admit(&request.token_secret, role(wanted), &known_tokens(&state), SystemTime::now())
        {
            tracing::warn!(%remote, role = %wanted, name, reason = %refusal, "refused a join");
            return Err(refusal.into());
        }
        let joined = self.admitted(wanted, request).await;
        match &joined {
            Ok(joined) => tracing::info!(%remote, role = %wanted, name, id = joined.id, "joined"),
            Err(status) => {
                tracing::warn!(%remote, role = %wanted, name, reason = status.message(), "could not let a joiner in");
            }
        }
        joined.map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let caller = Caller::expect(&request)?;
        let leaf = caller
            .peer()
            .and_then(|peer| peer.leaf())
            .cloned()
            .ok_or_else(|| Status::unauthenticated("only the holder of a certificate can renew it"))?;
        let state = self.core.read().await?.state;
        if let Err(refusal) = still_member(&state, &leaf) {
            tracing::warn!(remote = %caller.remote(), identity = %leaf.identity, "refused to renew a removed member");
            return Err(refusal);
        }
        let authority = authority(&state)?;
        let cert_pem = sign_again(&authority, &self.core.timings, &request.get_ref().csr_pem, &leaf)?;
        tracing::info!(identity = %leaf.identity, "renewed a certificate");
        Ok(Response::new(RenewResponse { cert_pem, ca_pem: authority.certificate_pem().to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["a:1", "10.0.0.1:7400", "[::1]:7400"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "a", ":1", "a:", "a:0", "a:65536"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
