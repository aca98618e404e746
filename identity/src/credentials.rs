//! What a part of the cluster presents to the others, checked to fit together.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::authority::CLOCK_SKEW;
use crate::certificate::{CertificateError, Leaf, first_in_pem, organization, parse};
use crate::role::Identity;
use crate::tls::provider;
use crate::token::CaHash;

/// A private key, the certificate on it, and the authority that signed it.
#[derive(Clone)]
pub struct Credentials {
    ca_pem: String,
    cert_pem: String,
    key_pem: String,
    ca_der: CertificateDer<'static>,
    leaf: Leaf,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// Checks that the three belong together: the authority signed the certificate, which is on
    /// this key and names a member of the authority's cluster. An expired certificate is accepted
    /// here; see [`Credentials::is_expired`].
    pub fn from_pem(ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<Self, CredentialsError> {
        let ca_der = first_in_pem(ca_pem).map_err(CredentialsError::Authority)?;
        let cert_der = first_in_pem(cert_pem)?;
        let leaf = Leaf::from_der(&cert_der)?;
        {
            let ca = parse(&ca_der).map_err(CredentialsError::Authority)?;
            let cert = parse(&cert_der)?;
            let cluster = organization(&ca).map_err(CredentialsError::Authority)?;
            if !ca.is_ca()
                || cluster != leaf.identity.cluster
                || cert.verify_signature(Some(ca.public_key())).is_err()
            {
                return Err(CredentialsError::NotSigned);
            }
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| CredentialsError::Key)?;
        // The authority goes with the certificate, so that a joiner can find the one its token pins.
        let chain = vec![cert_der, ca_der.clone()];
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CredentialsError::KeyMismatch,
            _ => CredentialsError::Key,
        })?;
        Ok(Self {
            ca_pem: ca_pem.to_owned(),
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            ca_der,
            leaf,
            certified: Arc::new(certified),
        })
    }

    /// Whom the certificate names.
    pub fn identity(&self) -> &Identity {
        &self.leaf.identity
    }

    /// What the certificate says.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Until when the certificate holds.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// Whether the certificate holds no more.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        now > self.leaf.not_after
    }

    /// From issue to expiry, without the allowance for clocks that are apart.
    pub(crate) fn lifetime(&self) -> Duration {
        self.leaf.not_after.duration_since(self.leaf.not_before + CLOCK_SKEW).unwrap_or_default()
    }

    /// The hash of the authority's certificate, as join tokens carry it.
    pub fn ca_hash(&self) -> CaHash {
        CaHash::of_der(&self.ca_der)
    }

    /// The authority's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The private key: for a file that only its owner can read, never for logs or messages.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The authority's certificate in DER form.
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.ca_der
    }

    /// The certificate in DER form.
    pub(crate) fn cert_der(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }

    /// Chain and key in the form that TLS uses.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

/// The credentials in use, replaced while servers and channels that share the cell go on: each new
/// connection presents what the cell holds then.
#[derive(Clone)]
pub struct CredentialsCell(Arc<watch::Sender<Arc<Credentials>>>);

impl CredentialsCell {
    /// A cell that holds these.
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(credentials))))
    }

    /// What it holds now.
    pub fn get(&self) -> Arc<Credentials> {
        Arc::clone(&self.0.borrow())
    }

    /// Replaces what it holds.
    pub fn set(&self, credentials: Credentials) {
        self.0.send_replace(Arc::new(credentials));
    }

    /// Tells of every replacement.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Credentials>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for CredentialsCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CredentialsCell").field(&self.get()).finish()
    }
}

/// Why certificate, key and authority can't be used together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The authority's certificate can't be read.
    #[error("the authority's certificate can't be used: {0}")]
    Authority(CertificateError),
    /// The certificate can't be read.
    #[error("the certificate can't be used: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate is another authority's.
    #[error("the certificate was not signed by the cluster's authority")]
    NotSigned,
    /// The key can't be read.
    #[error("the private key can't be used: it is not a key in PEM form")]
    Key,
    /// The key is another certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
}
