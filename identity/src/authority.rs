//! The cluster's own certificate authority.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::certificate::{CertificateError, Leaf, first_in_pem, organization, parse};
use crate::keys::{KeyError, generate_key, random};
use crate::names::{SubjectName, SubjectNameError};
use crate::role::{Identity, IdentityError, Role, check_id};
use crate::token::CaHash;

/// How far apart two machines' clocks may be: certificates hold from this long before they were issued.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// How long an authority's own certificate holds.
pub const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long the certificates of a cluster's parts hold, unless told otherwise.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// No request of ours is near this; more is not worth parsing.
const MAX_REQUEST: usize = 16 * 1024;

/// A certificate authority with its private key.
pub struct Authority {
    cluster: String,
    certificate_der: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of a new cluster.
    pub fn create(cluster: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let cluster = check_id("cluster", cluster)?;
        let key = generate_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, cluster.as_str());
        params.distinguished_name.push(DnType::CommonName, "Wharf cluster authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial_number()?);
        (params.not_before, params.not_after) = validity(now, CA_LIFETIME)?;
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Ok(Self {
            cluster,
            certificate_der: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority that was saved as this certificate and key.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem_and_sign_algo(key_pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| AuthorityError::Key)?;
        let der = first_in_pem(certificate_pem)?;
        let x509 = parse(&der)?;
        if !x509.is_ca() {
            return Err(AuthorityError::NotAnAuthority);
        }
        if *x509.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(AuthorityError::KeyMismatch);
        }
        let cluster = check_id("cluster", organization(&x509)?)?;
        Ok(Self {
            cluster,
            certificate_pem: certificate_pem.to_owned(),
            issuer: Issuer::from_ca_cert_der(&der, key).map_err(AuthorityError::Sign)?,
            certificate_der: der.clone(),
        })
    }

    /// Signs a certificate for the key of a signing request.
    ///
    /// Of the request only the key counts, and its signature, which proves that the asker has it:
    /// what the certificate says is the caller's decision. A server role's fixed name is added to
    /// `names`. The certificate holds from [`CLOCK_SKEW`] before `now` until `lifetime` after.
    pub fn issue(
        &self,
        csr_pem: &str,
        identity: &Identity,
        names: &[SubjectName],
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, AuthorityError> {
        if identity.cluster != self.cluster {
            return Err(AuthorityError::OtherCluster { cluster: identity.cluster.clone() });
        }
        // The fields are public: an identity need not come from its checked constructor.
        let identity = Identity::new(&identity.cluster, identity.role, &identity.id)?;
        let request = read_request(csr_pem)?;

        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, identity.cluster.as_str());
        params.distinguished_name.push(DnType::OrganizationalUnitName, identity.role.as_str());
        params.distinguished_name.push(DnType::CommonName, identity.id.as_str());
        params.subject_alt_names = alternative_names(identity.role, names)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role.server_name().is_some() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number()?);
        (params.not_before, params.not_after) = validity(now, lifetime)?;
        let certificate =
            params.signed_by(&request.public_key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(certificate.pem())
    }

    /// Signs a certificate that says the same as an earlier one: whose it is, and its names.
    pub fn reissue(
        &self,
        csr_pem: &str,
        earlier: &Leaf,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, AuthorityError> {
        self.issue(csr_pem, &earlier.identity, &earlier.names, now, lifetime)
    }

    /// The id of the cluster that this is the authority of.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The authority's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key: for the controllers' own state, never for logs or messages.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The hash that join tokens carry.
    pub fn hash(&self) -> CaHash {
        CaHash::of_der(&self.certificate_der)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

fn read_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, AuthorityError> {
    if csr_pem.len() > MAX_REQUEST {
        return Err(AuthorityError::Request { reason: format!("larger than {MAX_REQUEST} bytes") });
    }
    let request = CertificateSigningRequestParams::from_pem(csr_pem)
        .map_err(|error| AuthorityError::Request { reason: error.to_string() })?;
    // An uncompressed P-256 point: rcgen knows the signature's algorithm only, not the key's curve.
    let point = request.public_key.der_bytes();
    if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 || point.len() != 65 || point[0] != 4 {
        return Err(AuthorityError::Request { reason: "its key is not an ECDSA P-256 key".to_owned() });
    }
    Ok(request)
}

fn alternative_names(role: Role, names: &[SubjectName]) -> Result<Vec<SanType>, AuthorityError> {
    // A name need not come from its checked parser, and this is what keeps roles apart.
    for name in names {
        if let SubjectName::Dns(name) = name {
            name.parse::<SubjectName>()?;
        }
    }
    let fixed = role.server_name().map(|name| SubjectName::Dns(name.to_owned()));
    fixed
        .iter()
        .chain(names)
        .map(|name| match name {
            SubjectName::Ip(ip) => Ok(SanType::IpAddress(*ip)),
            SubjectName::Dns(name) => name.as_str().try_into().map(SanType::DnsName),
        })
        .collect::<Result<_, _>>()
        .map_err(AuthorityError::Sign)
}

fn serial_number() -> Result<SerialNumber, KeyError> {
    let mut bytes: [u8; 16] = random()?;
    // Positive, and never shortened by a leading zero.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn validity(now: SystemTime, lifetime: Duration) -> Result<(OffsetDateTime, OffsetDateTime), AuthorityError> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| AuthorityError::Clock)?;
    let at = |moment: Duration| {
        let seconds = i64::try_from(moment.as_secs()).map_err(|_| AuthorityError::Clock)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Clock)
    };
    let end = now.checked_add(lifetime).ok_or(AuthorityError::Clock)?;
    Ok((at(now.saturating_sub(CLOCK_SKEW))?, at(end)?))
}

/// Why an authority can't be made, loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A cluster's or holder's id that can't stand in a certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A name that can't be given to the certificate's holder.
    #[error(transparent)]
    Name(#[from] SubjectNameError),
    /// The authority's certificate can't be read.
    #[error("the authority's certificate can't be used: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate does not allow to sign others.
    #[error("the certificate is not an authority's")]
    NotAnAuthority,
    /// The authority's key can't be read.
    #[error("the authority's key is not an ECDSA P-256 key in PEM form")]
    Key,
    /// Certificate and key of different authorities.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
    /// Asked to name a member of another cluster.
    #[error("this is not the authority of cluster {cluster}")]
    OtherCluster {
        /// The other cluster.
        cluster: String,
    },
    /// The signing request is no good.
    #[error("the certificate request is refused: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
    /// No key or serial number.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// The certificate could not be made.
    #[error("cannot sign a certificate: {0}")]
    Sign(rcgen::Error),
    /// A time that no certificate can hold.
    #[error("the system clock, or the lifetime asked for, is out of range")]
    Clock,
}
