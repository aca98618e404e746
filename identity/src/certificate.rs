//! Reading a certificate: whom it names and how long it holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate};

use crate::names::{SubjectName, SubjectNameError};
use crate::role::{Identity, IdentityError};

/// No certificate of ours is near this; more is not worth parsing.
const MAX_CERTIFICATE: usize = 16 * 1024;

/// The end of the year 9999, the last moment that X.509 can express.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a part's certificate says. Reading it proves nothing: that the cluster's authority signed
/// it is for TLS, or [`crate::Credentials::from_pem`], to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it names.
    pub identity: Identity,
    /// The names and addresses it is for, as a server's, besides its role's fixed one.
    pub names: Vec<SubjectName>,
    /// From when it holds.
    pub not_before: SystemTime,
    /// Until when it holds.
    pub not_after: SystemTime,
}

impl Leaf {
    /// Reads a certificate in DER form.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let x509 = parse(der)?;
        let subject = x509.subject();
        let cluster = only("organization (O)", subject.iter_organization())?;
        let role = only("organizational unit (OU)", subject.iter_organizational_unit())?;
        let id = only("common name (CN)", subject.iter_common_name())?;
        Ok(Self {
            identity: Identity::new(cluster, role.parse()?, id)?,
            names: alternative_names(&x509)?,
            not_before: system_time(x509.validity().not_before.timestamp())?,
            not_after: system_time(x509.validity().not_after.timestamp())?,
        })
    }
}

/// Parses one certificate and nothing after it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_CERTIFICATE {
        return Err(CertificateError::TooLarge);
    }
    match X509Certificate::from_der(der) {
        Ok(([], x509)) => Ok(x509),
        Ok(_) => Err(CertificateError::Malformed { reason: "trailing bytes".to_owned() }),
        Err(error) => Err(CertificateError::Malformed { reason: error.to_string() }),
    }
}

fn alternative_names(x509: &X509Certificate<'_>) -> Result<Vec<SubjectName>, CertificateError> {
    let malformed = |reason: &dyn ToString| CertificateError::Malformed { reason: reason.to_string() };
    let Some(names) = x509.subject_alternative_name().map_err(|error| malformed(&error))? else {
        return Ok(Vec::new());
    };
    let mut read = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => match name.parse() {
                Ok(name) => read.push(name),
                Err(SubjectNameError::Reserved { .. }) => {}
                Err(error) => return Err(malformed(&error)),
            },
            GeneralName::IPAddress(octets) => {
                let ip = match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
                    (Ok(v4), _) => v4.into(),
                    (_, Ok(v6)) => v6.into(),
                    _ => return Err(malformed(&"an address of neither 4 nor 16 octets")),
                };
                read.push(SubjectName::Ip(ip));
            }
            _ => {}
        }
    }
    Ok(read)
}

/// The first certificate of a PEM text.
pub(crate) fn first_in_pem(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    if pem.len() > 4 * MAX_CERTIFICATE {
        return Err(CertificateError::TooLarge);
    }
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| CertificateError::Malformed { reason: error.to_string() })
}

/// The cluster's id in an authority's certificate.
pub(crate) fn organization<'a>(x509: &'a X509Certificate<'_>) -> Result<&'a str, CertificateError> {
    only("organization (O)", x509.subject().iter_organization())
}

fn only<'a>(
    field: &'static str,
    mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<&'a str, CertificateError> {
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_str().map_err(|_| CertificateError::Subject { field }),
        _ => Err(CertificateError::Subject { field }),
    }
}

fn system_time(seconds: i64) -> Result<SystemTime, CertificateError> {
    let seconds = u64::try_from(seconds).map_err(|_| CertificateError::Validity)?;
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A moment as people and logs read it.
pub(crate) fn moment(at: SystemTime) -> String {
    // Formatting panics before 1970 and fails after 9999.
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST_SECOND);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Why a certificate is not one of a Wharf cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// More bytes than any certificate of ours has.
    #[error("the certificate is larger than {MAX_CERTIFICATE} bytes")]
    TooLarge,
    /// Not a certificate at all.
    #[error("not a certificate: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// The subject lacks a field, or has it twice.
    #[error("the certificate's subject needs exactly one {field}: it was not issued by a Wharf cluster")]
    Subject {
        /// The field.
        field: &'static str,
    },
    /// The subject's fields are there, but don't make an identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Dates before 1970.
    #[error("the certificate's dates are out of range")]
    Validity,
}
