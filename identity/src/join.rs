//! Becoming a member of a cluster with a join token.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tonic::Code;
use wharf_proto::v1::identity_api_client::IdentityApiClient;
use wharf_proto::v1::{JoinRequest, JoinResponse, NodeDescription};

use crate::credentials::{Credentials, CredentialsError};
use crate::dial::{DialError, Target, connect_with};
use crate::keys::{KeyAndRequest, KeyError};
use crate::role::Role;
use crate::store::{IdentityFolder, StoreError};
use crate::tls::{TlsError, pinned_config};
use crate::token::JoinToken;

/// For an answer: a join is a change that a majority of the controllers has to agree on.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a joiner says about itself.
#[derive(Debug, Clone)]
pub struct JoinDetails {
    /// The role to join in, which the token must be for.
    pub role: Role,
    /// The machine's host name.
    pub name: String,
    /// Where others reach it (host:port), for controllers and registries; else empty.
    pub advertise_address: String,
    /// More names that a registry is known by.
    pub names: Vec<String>,
    /// What an agent says of its machine.
    pub description: Option<NodeDescription>,
    /// The feature level that a controller knows; 0 for every other role.
    pub level: u32,
}

/// What joining gave.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The new identity, which has been saved.
    pub credentials: Credentials,
    /// A controller's number in Raft; 0 for every other role.
    pub raft_id: u64,
    /// The addresses of the cluster's controllers.
    pub controllers: Vec<String>,
}

/// Joins the cluster that the token is for, through the first of these controllers that answers,
/// and saves the new identity in the folder.
///
/// One key and one request go to all of them, so that a controller can tell a joiner that asks again
/// from a second one.
pub async fn join(
    addresses: &[String],
    token: &JoinToken,
    details: JoinDetails,
    folder: &IdentityFolder,
) -> Result<Joined, JoinError> {
    if token.role != details.role {
        return Err(JoinError::WrongRole { wanted: details.role, token: token.role });
    }
    let key = KeyAndRequest::generate()?;
    let config = pinned_config(token.ca_hash)?;
    let request = JoinRequest {
        token_secret: token.secret.reveal(),
        csr_pem: key.csr_pem,
        role: details.role.to_string(),
        name: details.name,
        advertise_address: details.advertise_address,
        names: details.names,
        description: details.description,
        level: details.level,
    };
    let mut attempts = Vec::new();
    for address in addresses {
        let answer = match ask(address, Arc::clone(&config), request.clone()).await {
            Ok(answer) => answer,
            Err(refused @ JoinError::Refused { .. }) => return Err(refused),
            Err(error) => {
                attempts.push(error);
                continue;
            }
        };
        let credentials = accept(&answer, &key.key_pem, token)
            .map_err(|reason| JoinError::Answer { address: address.clone(), reason })?;
        folder.save(&credentials)?;
        return Ok(Joined { credentials, raft_id: answer.raft_id, controllers: answer.controllers });
    }
    Err(match attempts.len() {
        0 => DialError::NoAddress.into(),
        1 => attempts.remove(0),
        _ => JoinError::All { attempts },
    })
}

async fn ask(
    address: &str,
    config: Arc<ClientConfig>,
    request: JoinRequest,
) -> Result<JoinResponse, JoinError> {
    let channel = connect_with(address, Target::anonymous(address, config)).await?;
    let mut client = IdentityApiClient::new(channel);
    let late = || JoinError::Unavailable {
        address: address.to_owned(),
        message: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.join(request)).await.map_err(|_| late())?;
    answer.map(tonic::Response::into_inner).map_err(|status| {
        let (address, message) = (address.to_owned(), status.message().to_owned());
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::FailedPrecondition => JoinError::Refused { address, message },
            _ => JoinError::Unavailable { address, message },
        }
    })
}

/// The credentials in an answer, if they are what was asked for.
fn accept(answer: &JoinResponse, key_pem: &str, token: &JoinToken) -> Result<Credentials, WrongAnswer> {
    let credentials = Credentials::from_pem(&answer.ca_pem, &answer.cert_pem, key_pem)?;
    let identity = credentials.identity();
    if credentials.ca_hash() != token.ca_hash {
        return Err(WrongAnswer::Authority);
    }
    if identity.role != token.role || identity.id != answer.id || identity.cluster != answer.cluster_id {
        return Err(WrongAnswer::Identity);
    }
    Ok(credentials)
}

/// What is wrong with the certificate that a controller answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongAnswer {
    /// It does not fit the key, or the authority.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It is another authority's than the one that is trusted.
    #[error("its authority is not the one that signed the controller's own certificate")]
    Authority,
    /// It names somebody else.
    #[error("it names another member than the one that asked")]
    Identity,
}

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A token for another role: nobody was asked.
    #[error(
        "this is a token for {}, not for {}; `wharf token show --role {wanted}` prints the right one",
        .token.with_article(), .wanted.with_article()
    )]
    WrongRole {
        /// The role to join in.
        wanted: Role,
        /// The token's role.
        token: Role,
    },
    /// No trusted connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The controller said no.
    #[error("the controller at {address} refused: {message}")]
    Refused {
        /// The controller.
        address: String,
        /// What it said.
        message: String,
    },
    /// The controller could not do it now.
    #[error("the controller at {address} could not do it: {message}")]
    Unavailable {
        /// The controller.
        address: String,
        /// What it said.
        message: String,
    },
    /// The controller's answer can't be used.
    #[error("the controller at {address} gave a certificate that can't be used: {reason}")]
    Answer {
        /// The controller.
        address: String,
        /// What is wrong.
        reason: WrongAnswer,
    },
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Joined, but the identity could not be saved.
    #[error("joined, but the new identity is lost: {0}")]
    Save(#[from] StoreError),
    /// None of several controllers could be asked.
    #[error("no controller let us join:{}", list(.attempts))]
    All {
        /// What each attempt ended with.
        attempts: Vec<JoinError>,
    },
}

impl JoinError {
    /// Whether the same call can succeed later, with nobody changing token or addresses.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Dial(DialError::Unreachable { .. }) | Self::Unavailable { .. } => true,
            Self::All { attempts } => attempts.iter().any(Self::is_retryable),
            _ => false,
        }
    }
}

fn list(attempts: &[JoinError]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}
