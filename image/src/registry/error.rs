//! What can go wrong with a registry, and which of it may pass by itself.

use std::error::Error as _;

use reqwest::StatusCode;
use thiserror::Error;

use crate::digest::Mismatch;
use crate::manifest::ManifestError;
use crate::reference::ImageName;

/// Why a registry did not do as asked.
#[derive(Debug, Clone, Error)]
pub enum RegistryError {
    /// No such repository, tag or digest.
    #[error("image {name} does not exist in registry {registry}: check its name and tag")]
    NotFound {
        /// The image.
        name: String,
        /// Where it was looked for.
        registry: String,
    },
    /// Credentials are missing, wrong, or do not suffice.
    #[error("registry {registry} refuses access to {name}{}: {}", note(.detail), if *with_credentials { "check the credentials given for it" } else { "it may need credentials, or the image does not exist" })]
    Unauthorized {
        /// The image.
        name: String,
        /// The registry.
        registry: String,
        /// What the registry said.
        detail: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Nobody answers, or the connection breaks, again and again.
    #[error("registry {registry} is not reachable (tried {attempts} times): {cause}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        cause: String,
    },
    /// No TLS connection comes about: one side's certificate is not trusted by the other, or there is no TLS at all.
    #[error("no TLS connection to registry {registry}: {cause}{}", tls_advice(cause))]
    Tls {
        /// The registry.
        registry: String,
        /// What is in the way.
        cause: String,
    },
    /// It answers, with something that doesn't get us on.
    #[error("registry {registry} answered {status}{}", note(.detail))]
    Refused {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// The bytes are not what they should be.
    #[error(transparent)]
    DigestMismatch(#[from] Box<Mismatch>),
    /// The manifest is of no use.
    #[error("image {name}: {cause}")]
    BadManifest {
        /// The image.
        name: String,
        /// What is wrong.
        cause: ManifestError,
    },
    /// It broke the protocol.
    #[error("registry {registry} broke the protocol: {what}")]
    Protocol {
        /// The registry.
        registry: String,
        /// How.
        what: String,
    },
    /// The certificates to trust can't be read.
    #[error("can't set up TLS: {0}")]
    Setup(String),
}

fn note(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

/// rustls has its errors' kinds behind several layers of others' errors; their words are what comes through.
const TLS_PROBLEMS: [(&str, &str); 4] = [
    ("invalid peer certificate", "give the CA certificate that signed the registry's"),
    ("CertificateRequired", "it takes only clients with a certificate of its cluster"),
    ("received fatal alert", "it refuses this client's certificate or version of TLS"),
    (NO_TLS, "it seems to have no TLS: list it as plain HTTP, if that is meant"),
];
/// How a server that speaks plain HTTP looks to TLS.
pub(super) const NO_TLS: &str = "received corrupt message";

fn tls_advice(cause: &str) -> String {
    let advice = TLS_PROBLEMS.iter().find(|(sign, _)| cause.contains(sign));
    advice.map(|(_, advice)| format!("; {advice}")).unwrap_or_default()
}

/// One attempt's failure, before it is known whether it was the last.
#[derive(Debug)]
pub(super) enum Failure {
    /// May pass by itself.
    Retry(String),
    /// Stays as it is.
    Final(Problem),
}

/// What stays as it is.
#[derive(Debug)]
pub(super) enum Problem {
    Status { status: StatusCode, detail: String, with_credentials: bool },
    Tls(String),
    Protocol(String),
    Setup(String),
}

impl From<reqwest::Error> for Failure {
    fn from(e: reqwest::Error) -> Self {
        let cause = innermost(&e);
        if e.is_builder() {
            Failure::Final(Problem::Protocol(cause))
        } else if TLS_PROBLEMS.iter().any(|(sign, _)| cause.contains(sign)) {
            Failure::Final(Problem::Tls(cause))
        } else if e.is_redirect() {
            Failure::Final(Problem::Protocol(format!("bad redirect: {cause}")))
        } else if e.is_timeout() {
            Failure::Retry("it does not answer in time".into())
        } else {
            Failure::Retry(cause)
        }
    }
}

/// reqwest wraps causes several deep; only the last says what happened.
fn innermost(e: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // The URL may carry a signature; it is never shown.
    if e.source().is_none() { "the request failed".to_owned() } else { cause.to_string() }
}

impl Failure {
    pub(super) fn into_error(self, name: &ImageName, attempts: u32) -> RegistryError {
        let registry = name.registry().to_owned();
        let problem = match self {
            Failure::Retry(cause) => return RegistryError::Unreachable { registry, attempts, cause },
            Failure::Final(problem) => problem,
        };
        match problem {
            Problem::Tls(cause) => RegistryError::Tls { registry, cause },
            Problem::Protocol(what) => RegistryError::Protocol { registry, what },
            Problem::Setup(what) => RegistryError::Setup(what),
            Problem::Status { status, detail, with_credentials } => match status {
                StatusCode::NOT_FOUND => RegistryError::NotFound { name: name.familiar(), registry },
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    RegistryError::Unauthorized { name: name.familiar(), registry, detail, with_credentials }
                }
                _ => RegistryError::Refused { registry, status: status.as_u16(), detail },
            },
        }
    }
}

/// What a registry says in an error's body, on one line and not too long.
pub(super) fn detail(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<Item>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Body>(body) {
        Ok(body) => {
            let item = |e: &Item| if e.message.is_empty() { e.code.clone() } else { e.message.clone() };
            body.errors.iter().map(item).collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::new(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
