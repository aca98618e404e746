//! Making a key pair and the request for a certificate on it.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

/// A new private key and the signing request that proves its possession.
pub struct KeyAndRequest {
    /// The private key, PKCS #8 in PEM. Never leaves the machine.
    pub key_pem: String,
    /// The certificate signing request in PEM.
    pub csr_pem: String,
}

impl KeyAndRequest {
    /// Makes an ECDSA P-256 key and a request. The request names nobody: the authority decides
    /// what the certificate says.
    pub fn generate() -> Result<Self, KeyError> {
        let key = generate_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "wharf");
        let request = params.serialize_request(&key).map_err(KeyError::Request)?;
        Ok(Self { key_pem: key.serialize_pem(), csr_pem: request.pem().map_err(KeyError::Request)? })
    }
}

impl std::fmt::Debug for KeyAndRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyAndRequest").field("csr_pem", &self.csr_pem).finish_non_exhaustive()
    }
}

pub(crate) fn generate_key() -> Result<KeyPair, KeyError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Generate)
}

/// Random bytes for secrets and serial numbers.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    let source = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&source, &mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// Why no key could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The key could not be made.
    #[error("cannot make a key: {0}")]
    Generate(rcgen::Error),
    /// The request could not be made.
    #[error("cannot make a certificate request: {0}")]
    Request(rcgen::Error),
}
