//! Which certificates a registry may show, and which one it gets to see.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DistinguishedName, RootCertStore, SignatureScheme};

/// A client certificate with its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate and what leads from it to its CA.
    pub chain: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

/// A client configuration with the ring provider, which needs no process-wide default.
pub(super) fn client_config(
    extra_roots: &[Vec<u8>],
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for pem in extra_roots {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| format!("a CA certificate is no valid PEM: {e}"))?;
            roots.add(certificate).map_err(|e| format!("a CA certificate can't be used: {e}"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client_certificate = identity
        .map(|identity| {
            let bad =
                |e: &dyn fmt::Display| format!("the client certificate for registries can't be used: {e}");
            let chain = CertificateDer::pem_slice_iter(&identity.chain).collect::<Result<Vec<_>, _>>();
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|e| bad(&e))?;
            let certified = CertifiedKey::from_der(chain.map_err(|e| bad(&e))?, key, &provider);
            let certified = Arc::new(certified.map_err(|e| bad(&e))?);
            Ok::<_, String>(Arc::new(OwnCluster { issuers: roots.subjects(), certified }))
        })
        .transpose()?;
    // Machines without the ca-certificates package have none; the cluster's own registry works all the same.
    let (_, ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if ignored > 0 {
        tracing::debug!(ignored, "some of the system's root certificates can't be used");
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    Ok(match client_certificate {
        Some(resolver) => config.with_client_cert_resolver(resolver),
        None => config.with_no_client_auth(),
    })
}

/// Shows the certificate only to servers that ask for one of our own CAs'.
#[derive(Debug)]
struct OwnCluster {
    issuers: Vec<DistinguishedName>,
    certified: Arc<CertifiedKey>,
}

impl ResolvesClientCert for OwnCluster {
    fn resolve(&self, root_hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let asked_for = |issuer: &DistinguishedName| root_hints.contains(&issuer.as_ref());
        self.issuers.iter().any(asked_for).then(|| self.certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    #[test]
    fn the_certificate_is_shown_to_the_own_cluster_alone() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "own cluster");
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem().into_bytes();
        let identity = ClientIdentity { chain: pem.clone(), key: key.serialize_pem().into_bytes() };
        let config = client_config(std::slice::from_ref(&pem), Some(&identity)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let own = roots.subjects();
        let shown = |hints: &[&[u8]]| config.client_auth_cert_resolver.resolve(hints, &[]).is_some();
        assert!(shown(&[b"other", own[0].as_ref()]));
        assert!(!shown(&[b"other"]));
        assert!(!shown(&[]));
        let bad = ClientIdentity { key: b"rubbish".to_vec(), ..identity };
        let text = client_config(&[pem], Some(&bad)).unwrap_err();
        assert!(text.contains("client certificate") && !text.contains("rubbish"), "{text}");
    }
}
