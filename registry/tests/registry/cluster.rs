//! A registry that is a member of a cluster: it joins, presents the cluster's certificate and knows
//! clients by theirs. The controller here is a small one that signs with a real authority.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::{Client, StatusCode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use wharf_identity::{
    Authority, Credentials, CredentialsCell, Identity, JoinToken, KeyAndRequest, KnownToken, Protocols, Role,
    TokenSecret, admit, grpc_server, server_config, tls_incoming,
};
use wharf_proto::v1::identity_api_server::{IdentityApi, IdentityApiServer};
use wharf_proto::v1::{JoinRequest, JoinResponse, RenewRequest, RenewResponse};

use crate::support::{DEADLINE, Process, Registry, command, install_provider, refused, sha256};

const HOUR: Duration = Duration::from_secs(3600);

fn issue(authority: &Authority, role: Role, id: &str, names: &[&str]) -> Credentials {
    let key = KeyAndRequest::generate().unwrap();
    let identity = Identity::new(authority.cluster(), role, id).unwrap();
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    let cert = authority.issue(&key.csr_pem, &identity, &names, SystemTime::now(), HOUR).unwrap();
    Credentials::from_pem(authority.certificate_pem(), &cert, &key.key_pem).unwrap()
}

/// A client that trusts the cluster only, and presents a certificate if it has one.
fn member(authority: &Authority, credentials: Option<&Credentials>) -> Client {
    install_provider();
    let ca = reqwest::Certificate::from_pem(authority.certificate_pem().as_bytes()).unwrap();
    let mut builder = Client::builder().no_proxy().timeout(DEADLINE).tls_certs_only([ca]);
    if let Some(credentials) = credentials {
        let pem = format!("{}{}", credentials.cert_pem(), credentials.key_pem());
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

async fn push(client: &Client, registry: &str) -> reqwest::Response {
    let digest = sha256(b"content");
    let url = format!("{registry}/v2/app/blobs/uploads/?digest={digest}");
    client.post(url).body("content").send().await.unwrap()
}

#[tokio::test]
async fn changes_can_be_kept_to_members_of_the_cluster() {
    let authority = Authority::create("c1", SystemTime::now()).unwrap();
    let cell = CredentialsCell::new(issue(&authority, Role::Registry, "r1", &["127.0.0.1"]));
    let tls = server_config(&cell, Protocols::Http2AndHttp1).unwrap();
    let registry = Registry::start_tls(tls, true).await;

    let stranger = member(&authority, None);
    refused(push(&stranger, &registry.url).await, StatusCode::FORBIDDEN, "DENIED").await;
    let agent = member(&authority, Some(&issue(&authority, Role::Agent, "n1", &[])));
    let pushed = push(&agent, &registry.url).await;
    assert_eq!(pushed.status(), StatusCode::CREATED);
    assert_eq!(pushed.version(), reqwest::Version::HTTP_2);

    let blob = format!("{}/v2/app/blobs/{}", registry.url, sha256(b"content"));
    let pulled = stranger.get(&blob).send().await.unwrap();
    assert_eq!(pulled.text().await.unwrap(), "content");
    let head = stranger.head(&blob).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "7");
    refused(stranger.delete(&blob).send().await.unwrap(), StatusCode::FORBIDDEN, "DENIED").await;

    // A certificate of another authority does not even get a connection.
    let other = Authority::create("c1", SystemTime::now()).unwrap();
    let impostor = member(&authority, Some(&issue(&other, Role::Admin, "a1", &[])));
    assert!(impostor.get(&blob).send().await.is_err());
}

#[tokio::test]
async fn joins_once_and_is_a_member_from_then_on() {
    let controller = Controller::start().await;
    let dir = TempDir::new().unwrap();
    let (token, address) = (controller.token.to_string(), controller.address.to_string());
    let names = "127.0.0.1,reg.example.org:5000";
    let args = ["--join", &address, "--token", &token, "--advertise", names, "--require-client-cert"];
    let registry = start(dir.path(), &args).await;
    let stranger = member(&controller.authority, None);
    let url = format!("https://{}", registry.addr);
    assert_eq!(stranger.get(format!("{url}/v2/")).send().await.unwrap().status(), StatusCode::OK);
    refused(push(&stranger, &url).await, StatusCode::FORBIDDEN, "DENIED").await;
    let ca = reqwest::Certificate::from_pem(controller.authority.certificate_pem().as_bytes()).unwrap();
    let by_name = Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .resolve("registry.wharf.internal", registry.addr)
        .resolve("reg.example.org", registry.addr)
        .build()
        .unwrap();
    for name in ["registry.wharf.internal", "reg.example.org"] {
        let url = format!("https://{name}:{}/v2/", registry.addr.port());
        assert_eq!(by_name.get(url).send().await.unwrap().status(), StatusCode::OK, "{name}");
    }
    registry.kill();

    // From now on it needs neither token nor controller.
    let (authority, other_token) = controller.stop();
    let registry = start(dir.path(), &[]).await;
    let url = format!("https://{}/v2/", registry.addr);
    assert_eq!(member(&authority, None).get(url).send().await.unwrap().status(), StatusCode::OK);
    registry.kill();

    let message = fails(dir.path(), &["--join", "127.0.0.1:1", "--token", &other_token]).await;
    assert!(message.contains("another cluster") && message.contains("identity"), "{message}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_a_reason() {
    let controller = Controller::start().await;
    let dir = TempDir::new().unwrap();
    let address = controller.address.to_string();
    let unknown = JoinToken { secret: TokenSecret::generate().unwrap(), ..controller.token.clone() };
    let message = fails(dir.path(), &["--join", &address, "--token", &unknown.to_string()]).await;
    assert!(message.contains("joining the cluster") && message.contains("refused"), "{message}");
    let agents = JoinToken { role: Role::Agent, ..controller.token.clone() };
    let message = fails(dir.path(), &["--join", &address, "--token", &agents.to_string()]).await;
    assert!(message.contains("wharf token show --role registry"), "{message}");
}

async fn start(dir: &Path, args: &[&str]) -> Process {
    let (dir, args) = (dir.to_owned(), args.iter().map(ToString::to_string).collect::<Vec<_>>());
    let run = move || Process::start(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn fails(dir: &Path, args: &[&str]) -> String {
    let mut command = command();
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir).args(args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// A controller's identity service.
struct Controller {
    authority: Arc<Authority>,
    address: SocketAddr,
    token: JoinToken,
    task: tokio::task::JoinHandle<()>,
}

impl Controller {
    async fn start() -> Self {
        let authority = Arc::new(Authority::create("c1", SystemTime::now()).unwrap());
        let secret = TokenSecret::generate().unwrap();
        let token = JoinToken { role: Role::Registry, ca_hash: authority.hash(), secret: secret.clone() };
        let known = KnownToken { role: Role::Registry, secret, expires: None };
        let cell = CredentialsCell::new(issue(&authority, Role::Controller, "k1", &[]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tls_incoming(listener, server_config(&cell, Protocols::Http2).unwrap());
        let service = Service { authority: authority.clone(), known, address };
        let server = grpc_server().add_service(IdentityApiServer::new(service));
        let task = tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        Controller { authority, address, token, task }
    }

    /// Its authority, and a token for a registry in some other cluster.
    fn stop(self) -> (Arc<Authority>, String) {
        self.task.abort();
        let other = Authority::create("c2", SystemTime::now()).unwrap();
        let token = JoinToken { ca_hash: other.hash(), ..self.token };
        (self.authority, token.to_string())
    }
}

struct Service {
    authority: Arc<Authority>,
    known: KnownToken,
    address: SocketAddr,
}

#[tonic::async_trait]
impl IdentityApi for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        admit(&request.token_secret, Role::Registry, std::slice::from_ref(&self.known), SystemTime::now())?;
        assert_eq!(request.advertise_address.split(':').next(), Some("127.0.0.1"));
        let identity = Identity::new("c1", Role::Registry, "r1").unwrap();
        let names: Vec<_> = request.names.iter().map(|name| name.parse().unwrap()).collect();
        let cert_pem =
            self.authority.issue(&request.csr_pem, &identity, &names, SystemTime::now(), HOUR).unwrap();
        Ok(Response::new(JoinResponse {
            id: identity.id,
            cert_pem,
            ca_pem: self.authority.certificate_pem().to_owned(),
            cluster_id: identity.cluster,
            raft_id: 0,
            controllers: vec![self.address.to_string()],
        }))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("nothing is old enough here"))
    }
}
