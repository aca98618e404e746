//! The agent's one session with the leading controller: dialled, kept, and begun anew with whichever controller leads
//! next. Nothing of what the node holds depends on it.

mod backoff;
mod conversation;
pub mod order;
mod pulse;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tonic::Code;
use wharf_identity::{DialError, Dialer, explain};
use wharf_proto::v1::NodeDescription;
use wharf_proto::v1::agent_api_client::AgentApiClient;

use crate::logs::Logs;
use crate::reports::Reports;
use crate::store::Store;
use crate::worker::{AssignError, Worker};
use backoff::Backoff;

/// For an answer to the first word.
const ANSWER: Duration = Duration::from_secs(10);

/// What a session needs.
pub struct Session {
    /// Holds what is assigned.
    pub worker: Arc<Worker>,
    /// What to tell.
    pub reports: Arc<Reports>,
    /// How to reach controllers.
    pub dialer: Dialer,
    /// Remembers where they are.
    pub store: Store,
    /// What this machine is.
    pub description: NodeDescription,
    /// Sends tasks' output when it is asked for.
    pub logs: Logs,
}

/// Why a session ended, or never began.
#[derive(Debug, Error)]
pub enum End {
    /// No controller was reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Another controller leads, or none (an empty address).
    #[error("{}", if .0.is_empty() { "no controller leads at present".to_owned() } else { format!("the leader is {}", .0) })]
    Redirected(String),
    /// The controller's term is older than one that was followed already.
    #[error("the controller leads in term {theirs}, and the agent has followed term {ours} already")]
    Deposed {
        /// The controller's term.
        theirs: u64,
        /// The agent's.
        ours: u64,
    },
    /// A change of the assignment went missing, or came twice.
    #[error("the assignment has a gap after change {0}")]
    Gap(u64),
    /// The controller closed the stream, or the connection broke.
    #[error("the controller ended the session: {message}")]
    Refused {
        /// As gRPC says it.
        code: Code,
        /// In words.
        message: String,
    },
    /// The controller closed the stream without a word.
    #[error("the controller ended the session")]
    Closed,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the controller for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The assignment can't be taken.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The controller doesn't keep to the protocol.
    #[error("the controller broke the protocol: {0}")]
    Protocol(&'static str),
}

impl From<tonic::Status> for End {
    fn from(status: tonic::Status) -> Self {
        let message = explain(&status).unwrap_or_else(|| status.message().to_owned());
        End::Refused { code: status.code(), message }
    }
}

impl Session {
    /// Keeps a session for ever.
    pub async fn run(self) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let mut begun = false;
            let (address, end) = self.once(&mut begun).await;
            if begun {
                backoff.reset();
            }
            match &end {
                End::Redirected(leader) if leader.is_empty() => tracing::debug!(%end, "no session yet"),
                End::Redirected(_) => tracing::debug!(%end, "going to another controller"),
                End::Refused { code: Code::PermissionDenied, .. } => tracing::error!(%end, "no session"),
                _ => tracing::warn!(%end, "no session; trying again"),
            }
            match (&end, address) {
                (End::Redirected(leader), _) if !leader.is_empty() => self.dialer.prefer(leader),
                // It may be the right one all the same, and needs only a new session.
                (End::Gap(_), _) | (_, None) => {}
                (_, Some(address)) => self.dialer.demote(&address),
            }
            tokio::time::sleep(backoff.next(&end)).await;
        }
    }

    /// One session from its beginning to its end, with the controller that was spoken to.
    async fn once(&self, begun: &mut bool) -> (Option<String>, End) {
        let connected = match self.dialer.connect().await {
            Ok(connected) => connected,
            Err(error) => return (None, error.into()),
        };
        let client = AgentApiClient::new(connected.channel);
        let end = match self.converse(client, begun).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        (Some(connected.address), end)
    }
}
