//! A registry with a certificate of a private CA.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use wharf_image::registry::RegistryError;
use wharf_image::{Images, PullError, PullOptions};

use crate::support::{Archive, Folder, Publish, Registry, amd64, options};

/// Passes TLS connections on to a plain registry; the port, and the CA that signed its certificate.
async fn front(backend: SocketAddr) -> (u16, Vec<u8>) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
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
    (port, ca_certificate.pem().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn is_trusted_only_with_its_ca() {
    let (registry, folder) = (Registry::start().await, Folder::new());
    Publish::new().layer(Archive::new().file("a", b"1")).publish(&registry, "app", "latest");
    let (port, ca) = front(registry.address).await;
    let name = format!("127.0.0.1:{port}/app").parse().unwrap();
    let open = |extra_roots: Vec<Vec<u8>>| {
        let mut options = options(&folder);
        options.registry.extra_roots = extra_roots;
        Images::open(options).unwrap()
    };
    let error = open(Vec::new()).pull(&name, &amd64(), &PullOptions::default()).await.unwrap_err();
    assert!(matches!(error, PullError::Registry(RegistryError::Tls { .. })), "{error}");
    assert!(error.to_string().contains("certificate that is not trusted"), "{error}");
    open(vec![ca]).pull(&name, &amd64(), &PullOptions::default()).await.unwrap();
    let error = open(vec![b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()])
        .pull(&name.with_tag("v2").unwrap(), &amd64(), &PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::Registry(RegistryError::Setup(_))), "{error}");
}
