//! TLS settings: who is trusted, what is presented, and that both can change while running.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::CertificateDer;

use crate::credentials::CredentialsCell;
use crate::pin::PinnedVerifier;
use crate::token::CaHash;

/// What a server speaks inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// gRPC only.
    Http2,
    /// HTTP/2 or HTTP/1.1, as the client likes.
    Http2AndHttp1,
}

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http2 => vec![b"h2".to_vec()],
            Self::Http2AndHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// The one set of algorithms used everywhere, passed explicitly so that no process-wide default counts.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Settings of a server that presents what the cell holds. A client need not present a certificate
/// (a joiner has none, nor has `docker`), but one that does must be a member of the cell's cluster.
///
/// The cluster's authority is taken from the cell once: it does not change in a process's life.
pub fn server_config(cell: &CredentialsCell, protocols: Protocols) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let roots = Arc::new(roots(cell.get().ca_der())?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Setup { reason: error.to_string() })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Presented(cell.clone())));
    config.alpn_protocols = protocols.alpn();
    // A resumed session would keep the identity, and skip the check of the dates, of the first one.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Settings of a client that presents what the cell holds, and trusts the cell's cluster only.
pub fn client_config(cell: &CredentialsCell) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(cell.get().ca_der())?)
        .with_client_cert_resolver(Arc::new(Presented(cell.clone())));
    config.alpn_protocols = Protocols::Http2.alpn();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Settings of a joiner, which has no identity yet: any controller of the cluster whose authority
/// has this hash is trusted.
pub(crate) fn pinned_config(ca_hash: CaHash) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = PinnedVerifier::new(ca_hash, Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = Protocols::Http2.alpn();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub(crate) fn roots(ca_der: &CertificateDer<'_>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca_der.clone().into_owned())?;
    Ok(roots)
}

/// Presents whatever the cell holds at the time of the handshake.
#[derive(Debug)]
struct Presented(CredentialsCell);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get().certified())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get().certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Why TLS can't be set up with the credentials at hand.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The authority or the algorithms can't be used.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier can't be made.
    #[error("cannot set up TLS: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
}
