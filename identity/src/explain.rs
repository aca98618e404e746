//! What went wrong in TLS, in words that tell a person what to look at.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::certificate::moment;
use crate::dial::DialError;
use crate::outgoing::refusal;
use crate::pin::pin_error;

/// Finds a cause of type `E` in an error and everything below it.
pub(crate) fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error's source is its inner error's source: the inner one would be skipped.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Why a call or a connection failed, if the reason is who we are, who the other end is, or how it
/// could not be reached; `None` for every other error.
///
/// With TLS 1.3 a server refuses a client's certificate only after the client takes the connection
/// as made, so that the refusal turns up in a call's error.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    find::<DialError>(error).map(ToString::to_string).or_else(|| refusal(error))
}

/// A TLS error in words, about the other end.
pub(crate) fn tls_reason(error: &Error) -> String {
    if let Some(pin) = pin_error(error) {
        return pin.to_string();
    }
    match error {
        Error::InvalidCertificate(certificate) => certificate_reason(certificate),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => {
                "it says that our certificate has expired; join again with a token".to_owned()
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                "it does not know our certificate's authority: it is of another cluster".to_owned()
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => "it refuses our certificate".to_owned(),
            AlertDescription::NoApplicationProtocol => "it does not speak gRPC".to_owned(),
            other => format!("it ended the handshake ({other:?})"),
        },
        Error::NoApplicationProtocol => "it speaks neither gRPC nor HTTP that we know".to_owned(),
        Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    let at = |time: &rustls_pki_types::UnixTime| {
        moment(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time.as_secs()))
    };
    match error {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired at {}", at(not_after))
        }
        CertificateError::NotValidYet => "its certificate does not hold yet: compare the clocks".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate holds from {} only: compare the clocks", at(not_before))
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate was signed by an unknown authority: it is not of this cluster".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another role".to_owned()
        }
        other => format!("its certificate is not valid ({other})"),
    }
}
