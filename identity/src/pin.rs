//! Trust of a joiner: no identity, no authority's certificate, only the hash in its token.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::Leaf;
use crate::role::Role;
use crate::tls::roots;
use crate::token::CaHash;

/// Accepts a controller's certificate signed by the authority with the pinned hash.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    ca_hash: CaHash,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    pub(crate) fn new(ca_hash: CaHash, provider: Arc<CryptoProvider>) -> Self {
        Self { ca_hash, provider }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = intermediates
            .iter()
            .find(|certificate| CaHash::of_der(certificate) == self.ca_hash)
            .ok_or_else(|| refuse(PinError::OtherCluster))?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &roots(ca)?,
            &[],
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        verify_server_name(&certificate, server_name)?;
        match Leaf::from_der(end_entity) {
            Ok(leaf) if leaf.identity.role == Role::Controller => Ok(ServerCertVerified::assertion()),
            _ => Err(refuse(PinError::NotAController)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn refuse(error: PinError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// The reason of a [`PinnedVerifier`], if that is what a TLS error is about.
pub(crate) fn pin_error(error: &Error) -> Option<PinError> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref().copied(),
        _ => None,
    }
}

/// Why a joiner does not trust whom it reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PinError {
    /// No certificate in the chain has the pinned hash.
    #[error("it is not of the cluster that the token is for")]
    OtherCluster,
    /// Of the right cluster, but in another role.
    #[error("it is not a controller")]
    NotAController,
}
