//! A controller's identity service in miniature, on a real port with real TLS.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};
use wharf_identity::{
    Authority, Credentials, CredentialsCell, Identity, JoinToken, KeyAndRequest, KnownToken, Peer, Protocols,
    Role, TokenSecret, admit, grpc_server, require_role, server_config, tls_incoming,
};
use wharf_proto::v1::identity_api_server::{IdentityApi, IdentityApiServer};
use wharf_proto::v1::{JoinRequest, JoinResponse, RenewRequest, RenewResponse};

pub const HOUR: Duration = Duration::from_secs(3600);

/// Issues credentials as a controller would.
pub fn issue(authority: &Authority, role: Role, id: &str, lifetime: Duration) -> Credentials {
    issue_at(authority, role, id, SystemTime::now(), lifetime)
}

pub fn issue_at(
    authority: &Authority,
    role: Role,
    id: &str,
    at: SystemTime,
    lifetime: Duration,
) -> Credentials {
    let key = KeyAndRequest::generate().expect("a key");
    let identity = Identity::new(authority.cluster(), role, id).expect("an identity");
    let cert = authority.issue(&key.csr_pem, &identity, &[], at, lifetime).expect("a certificate");
    Credentials::from_pem(authority.certificate_pem(), &cert, &key.key_pem).expect("credentials")
}

/// Credentials that expired an hour ago.
pub fn expired(authority: &Authority, role: Role, id: &str) -> Credentials {
    issue_at(authority, role, id, SystemTime::now() - 2 * HOUR, HOUR)
}

struct Service {
    authority: Arc<Authority>,
    tokens: Vec<KnownToken>,
    lifetime: Duration,
}

#[tonic::async_trait]
impl IdentityApi for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        let role: Role = request.role.parse().map_err(|_| Status::invalid_argument("no such role"))?;
        admit(&request.token_secret, role, &self.tokens, SystemTime::now())?;
        let invalid = |error: &dyn ToString| Status::invalid_argument(error.to_string());
        let identity =
            Identity::new(self.authority.cluster(), role, &request.name).map_err(|e| invalid(&e))?;
        let names: Vec<_> = request
            .names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()
            .map_err(|e| invalid(&e))?;
        let cert_pem = self
            .authority
            .issue(&request.csr_pem, &identity, &names, SystemTime::now(), self.lifetime)
            .map_err(|e| invalid(&e))?;
        Ok(Response::new(JoinResponse {
            id: identity.id,
            cert_pem,
            ca_pem: self.authority.certificate_pem().to_owned(),
            cluster_id: identity.cluster,
            raft_id: 7,
            controllers: vec!["c1:7400".to_owned()],
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        require_role(&request, &[Role::Agent, Role::Controller, Role::Registry])?;
        let peer = request.extensions().get::<Peer>().expect("a peer").clone();
        let earlier = peer.leaf().expect("a certificate");
        let cert_pem = self
            .authority
            .reissue(&request.into_inner().csr_pem, earlier, SystemTime::now(), self.lifetime)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(RenewResponse { cert_pem, ca_pem: self.authority.certificate_pem().to_owned() }))
    }
}

/// A running controller; stopped when dropped.
pub struct Controller {
    pub authority: Arc<Authority>,
    pub cell: CredentialsCell,
    pub address: String,
    pub token: JoinToken,
    pub controller_token: JoinToken,
    pub rotated_token: JoinToken,
    task: JoinHandle<()>,
}

impl Controller {
    pub async fn start() -> Self {
        Self::start_with(HOUR).await
    }

    /// A controller whose certificates hold this long.
    pub async fn start_with(lifetime: Duration) -> Self {
        let authority = Arc::new(Authority::create("c1", SystemTime::now()).expect("an authority"));
        let credentials = issue(&authority, Role::Controller, "k1", HOUR);
        Self::start_as(authority, credentials, lifetime).await
    }

    /// A controller that presents these credentials.
    pub async fn start_as(authority: Arc<Authority>, credentials: Credentials, lifetime: Duration) -> Self {
        let make = |role, expires| {
            let secret = TokenSecret::generate().expect("a secret");
            let token = JoinToken { role, ca_hash: authority.hash(), secret: secret.clone() };
            (token, KnownToken { role, secret, expires })
        };
        let (token, agent) = make(Role::Agent, None);
        let (controller_token, controller) = make(Role::Controller, None);
        let (rotated_token, rotated) = make(Role::Agent, Some(SystemTime::now()));
        let tokens = vec![agent, controller, rotated];

        let cell = CredentialsCell::new(credentials);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let incoming = tls_incoming(listener, server_config(&cell, Protocols::Http2).expect("settings"));
        let service = IdentityApiServer::new(Service { authority: Arc::clone(&authority), tokens, lifetime });
        let task = tokio::spawn(async move {
            grpc_server().add_service(service).serve_with_incoming(incoming).await.expect("a server");
        });
        Self { authority, cell, address, token, controller_token, rotated_token, task }
    }

    pub fn socket(&self) -> SocketAddr {
        self.address.parse().expect("an address")
    }

    pub fn issue(&self, role: Role, id: &str) -> Credentials {
        issue(&self.authority, role, id, HOUR)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens, nor will: the port stays taken as long as the tests run.
pub fn dead_address() -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    std::mem::forget(socket);
    address
}

/// Asks until the answer is some, for half a minute.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
