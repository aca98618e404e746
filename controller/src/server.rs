//! The one port: every service behind the gate, on TLS connections that know who is at their other end.

use crate::{
    agent_api::AgentService,
    control_api::ControlService,
    core::Core,
    gate::{Forwarder, Gate},
    identity_api::IdentityService,
    transport::RaftService,
};
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::service::Routes;
use wharf_identity::{CredentialsCell, Protocols, TlsError, grpc_server, server_config, tls_incoming};

/// Serves until the core stops and its connections have ended.
///
/// # Errors
/// When TLS can't be set up with the credentials, or the server fails.
pub async fn serve(core: Arc<Core>, listener: TcpListener, cell: CredentialsCell) -> Result<(), ServeError> {
    let config = server_config(&cell, Protocols::Http2)?;
    let forwarder =
        Forwarder::new(core.id, core.leadership.clone(), core.published.clone(), core.peers.clone());
    let routes = Routes::new(IdentityService::server(core.clone()))
        .add_service(ControlService::server(core.clone()))
        .add_service(AgentService::server(core.clone()))
        .add_service(RaftService::server(core.clone()))
        .prepare();
    let stopping = core.stopping.clone();
    grpc_server()
        .serve_with_incoming_shutdown(
            Gate::new(routes, Arc::new(forwarder)),
            tls_incoming(listener, config),
            stopping.cancelled_owned(),
        )
        .await?;
    Ok(())
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server failed.
    #[error("the server failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}
