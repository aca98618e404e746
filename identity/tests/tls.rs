//! Who may connect, and what each end is told, over real TLS on the loopback interface.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::{Controller, HOUR, dead_address, eventually, expired, issue};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use wharf_identity::{
    Authority, Credentials, CredentialsCell, DialError, Dialer, KeyAndRequest, Leaf, Role, channel, connect,
    explain,
};
use wharf_proto::v1::identity_api_client::IdentityApiClient;
use wharf_proto::v1::{RenewRequest, RenewResponse};

/// A client that trusts the controller's cluster, and presents whatever it likes.
fn raw_config(controller: &Controller, presented: Option<&Credentials>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(controller.cell.get().ca_der().clone()).expect("a root");
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
    let mut config = match presented {
        None => builder.with_no_client_auth(),
        Some(credentials) => {
            let cert = CertificateDer::from_pem_slice(credentials.cert_pem().as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(credentials.key_pem().as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![cert], key).expect("a key")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn raw_stream(controller: &Controller, presented: Option<&Credentials>) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(controller.socket()).await.expect("a connection");
    let name = ServerName::try_from("controller.wharf.internal").expect("a name");
    TlsConnector::from(raw_config(controller, presented)).connect(name, tcp).await.expect("a handshake")
}

async fn raw_channel(controller: &Controller, presented: Option<&Credentials>) -> Channel {
    let mut stream = Some(raw_stream(controller, presented).await);
    Endpoint::from_static("http://controller")
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = stream.take().ok_or(std::io::ErrorKind::NotConnected);
            async move { stream.map(TokioIo::new).map_err(std::io::Error::from) }
        }))
        .await
        .expect("a channel")
}

async fn call(channel: Channel) -> Result<RenewResponse, tonic::Status> {
    let csr_pem = KeyAndRequest::generate().expect("a key").csr_pem;
    let answer = IdentityApiClient::new(channel).renew(RenewRequest { csr_pem }).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_member_is_known_by_its_certificate() {
    let controller = Controller::start().await;
    let cell = CredentialsCell::new(controller.issue(Role::Agent, "n1"));
    let answer = call(connect(&controller.address, &cell).await.unwrap()).await.unwrap();
    let der = CertificateDer::from_pem_slice(answer.cert_pem.as_bytes()).unwrap();
    assert_eq!(&Leaf::from_der(&der).unwrap().identity, cell.get().identity());
}

#[tokio::test]
async fn without_a_certificate_one_gets_no_further_than_joining() {
    let controller = Controller::start().await;
    let status = call(raw_channel(&controller, None).await).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("needs a client certificate"), "{status}");
}

#[tokio::test]
async fn the_wrong_role_is_refused_by_name() {
    let controller = Controller::start().await;
    let cell = CredentialsCell::new(controller.issue(Role::Admin, "root"));
    let status = call(connect(&controller.address, &cell).await.unwrap()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "admin root may not make this call: it takes the certificate of an agent or a controller or a registry"
    );
}

#[tokio::test]
async fn members_of_other_clusters_are_refused_at_both_ends() {
    let controller = Controller::start().await;
    let other = Authority::create("c1", SystemTime::now()).unwrap();
    let stranger = issue(&other, Role::Agent, "n1", HOUR);

    let error = connect(&controller.address, &CredentialsCell::new(stranger.clone())).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("it is not of this cluster"), "{error}");
    // One that would trust the controller all the same is refused there.
    let status = call(raw_channel(&controller, Some(&stranger)).await).await.unwrap_err();
    assert!(format!("{status:?}").contains("fatal alert"), "{status:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_at_both_ends() {
    let controller = Controller::start().await;
    let late = expired(&controller.authority, Role::Agent, "n1");
    let error = connect(&controller.address, &CredentialsCell::new(late.clone())).await.unwrap_err();
    assert!(matches!(error, DialError::Expired { .. }), "{error:?}");
    assert!(error.to_string().contains("join again with a token"), "{error}");

    let status = call(raw_channel(&controller, Some(&late)).await).await.unwrap_err();
    assert!(format!("{status:?}").contains("fatal alert: CertificateExpired"), "{status:?}");
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate_and_comes_back_with_the_next() {
    let controller = Controller::start().await;
    let cell = CredentialsCell::new(issue(&controller.authority, Role::Agent, "n1", Duration::from_secs(3)));
    let channel = channel(&controller.address, &cell).unwrap();
    call(channel.clone()).await.unwrap();

    let refused = eventually("the refusal", || async { call(channel.clone()).await.err() }).await;
    assert!(
        matches!(refused.code(), Code::Unauthenticated | Code::Unavailable | Code::Unknown),
        "{refused:?}"
    );
    // Once the connection is down, the cause is known at this end.
    eventually("the reason", || async {
        let status = call(channel.clone()).await.expect_err("an expired certificate");
        explain(&status).filter(|reason| reason.contains("our own certificate expired"))
    })
    .await;

    cell.set(controller.issue(Role::Agent, "n1"));
    eventually("the new certificate's connection", || async { call(channel.clone()).await.ok() }).await;
}

#[tokio::test]
async fn a_server_presents_its_renewed_certificate_to_new_connections() {
    let controller = Controller::start().await;
    let presented = async || {
        let stream = raw_stream(&controller, None).await;
        let chain = stream.get_ref().1.peer_certificates().expect("a chain").to_vec();
        assert_eq!(chain[1], *controller.cell.get().ca_der(), "the authority goes with it");
        Leaf::from_der(&chain[0]).expect("a certificate").identity.id
    };
    assert_eq!(presented().await, "k1");
    controller.cell.set(controller.issue(Role::Controller, "k2"));
    assert_eq!(presented().await, "k2");
}

#[tokio::test]
async fn silent_clients_hold_nobody_up() {
    let controller = Controller::start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(controller.socket()).await.unwrap());
    }
    let cell = CredentialsCell::new(controller.issue(Role::Agent, "n1"));
    assert!(call(connect(&controller.address, &cell).await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_dialer_goes_on_to_the_controller_that_lives_and_remembers_it() {
    let controller = Controller::start().await;
    let cell = CredentialsCell::new(controller.issue(Role::Agent, "n1"));
    let (one, two) = (dead_address(), dead_address());
    let dialer = Dialer::new(vec![one.clone(), controller.address.clone(), two.clone()], cell.clone());
    let connected = dialer.connect().await.unwrap();
    assert_eq!(connected.address, controller.address);
    assert!(call(connected.channel).await.is_ok());
    assert_eq!(dialer.addresses(), [controller.address.clone(), two.clone(), one.clone()]);

    drop(controller);
    let error = eventually("an error", || async { dialer.connect().await.err() }).await;
    let DialError::All { attempts } = &error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 3);
    let nobody = Dialer::new(Vec::new(), cell).connect().await.unwrap_err();
    assert_eq!(nobody, DialError::NoAddress);
}

#[tokio::test]
async fn what_is_no_tls_at_all_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        tcp
    });
    let authority = Authority::create("c1", SystemTime::now()).unwrap();
    let cell = CredentialsCell::new(issue(&authority, Role::Agent, "n1", HOUR));
    let error = connect(&address, &cell).await.unwrap_err();
    assert!(error.to_string().ends_with("it does not speak TLS"), "{error}");
    server.abort();
}
