//! A registry with a certificate of a private CA, which may want one of its clients as well.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use wharf_image::registry::{ClientIdentity, RegistryError};
use wharf_image::{Images, PullError, PullOptions};

use crate::support::{Archive, Folder, Publish, Registry, amd64, options};

/// A CA by name, what it has signed for a client, and itself in PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn identity(&self) -> ClientIdentity {
        let (certificate, key) = self.sign("client");
        ClientIdentity { chain: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }
}

/// Passes TLS connections on to a plain registry; tells the port. Clients may have to show `clients`' certificates.
async fn front(backend: SocketAddr, authority: &Authority, clients: Option<&Authority>) -> u16 {
    let (certificate, key) = authority.sign("127.0.0.1");
    let provider = Arc::new(default_provider());
    let config =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut inside = tokio::net::TcpStream::connect(backend).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
            });
        }
    });
    port
}

async fn registry() -> Registry {
    let registry = Registry::start().await;
    Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "app", "latest");
    registry
}

/// Pulls into a fresh folder.
async fn pull(
    port: u16,
    extra_roots: Vec<Vec<u8>>,
    identity: Option<ClientIdentity>,
) -> Result<(), PullError> {
    let folder = Folder::new();
    let mut options = options(&folder);
    options.registry.extra_roots = extra_roots;
    options.registry.identity = identity;
    let name = format!("127.0.0.1:{port}/app").parse().unwrap();
    Images::open(options).unwrap().pull(&name, &amd64(), &PullOptions::default()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn is_trusted_only_with_its_ca() {
    let (registry, ca) = (registry().await, Authority::new("one"));
    let port = front(registry.address, &ca, None).await;
    let error = pull(port, Vec::new(), None).await.unwrap_err();
    assert!(matches!(error, PullError::Registry(RegistryError::Tls { .. })), "{error}");
    assert!(error.to_string().contains("UnknownIssuer; give the CA certificate"), "{error}");
    pull(port, vec![ca.pem()], None).await.unwrap();
    let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let error = pull(port, vec![bad], None).await.unwrap_err();
    assert!(matches!(error, PullError::Registry(RegistryError::Setup(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn may_want_a_certificate_of_its_clients() {
    let (registry, ca) = (registry().await, Authority::new("own"));
    let port = front(registry.address, &ca, Some(&ca)).await;
    pull(port, vec![ca.pem()], Some(ca.identity())).await.unwrap();
    pull(port, vec![ca.pem()], None).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn that_has_no_tls_is_told_apart() {
    // The name is no loopback address, so TLS is what is spoken.
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let folder = Folder::new();
    let name = format!("0.0.0.0:{port}/app").parse().unwrap();
    let images = Images::open(options(&folder)).unwrap();
    let error = images.pull(&name, &amd64(), &PullOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("it seems to have no TLS"), "{error}");
}
