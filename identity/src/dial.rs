//! Channels to controllers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::certificate::moment;
use crate::credentials::CredentialsCell;
use crate::explain::{find, tls_reason};
use crate::outgoing::ClientStream;
use crate::pin::{PinError, pin_error};
use crate::role::Role;
use crate::tls::client_config;

/// How often an otherwise quiet connection is asked for a sign of life, and how long that may take:
/// without it a client never notices a partition.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// See [`KEEPALIVE_INTERVAL`].
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connected channel to the controller at `address` (host:port), which presents what the cell
/// holds, now and whenever it has to connect again.
pub async fn connect(address: &str, cell: &CredentialsCell) -> Result<Channel, DialError> {
    connect_with(address, Target::new(address, cell)?).await
}

/// As [`connect`], but connects when it is first used: for peers that may not be up yet.
pub fn channel(address: &str, cell: &CredentialsCell) -> Result<Channel, DialError> {
    let target = Target::new(address, cell)?;
    Ok(endpoint(address)?.connect_with_connector_lazy(connector(target)))
}

/// A connected channel with other TLS settings than a member's.
pub(crate) async fn connect_with(address: &str, target: Target) -> Result<Channel, DialError> {
    endpoint(address)?.connect_with_connector(connector(target)).await.map_err(|error| {
        // Ours, if it comes from the connector; else HTTP/2 failed on the open connection.
        find::<DialError>(&error).cloned().unwrap_or_else(|| DialError::Tls {
            address: address.to_owned(),
            reason: find::<rustls::Error>(&error).map_or_else(|| error.to_string(), tls_reason),
        })
    })
}

/// Where and how to connect.
#[derive(Clone)]
pub(crate) struct Target {
    address: Arc<str>,
    config: Arc<ClientConfig>,
    /// `None` for a joiner.
    cell: Option<CredentialsCell>,
}

impl Target {
    fn new(address: &str, cell: &CredentialsCell) -> Result<Self, DialError> {
        let config = client_config(cell).map_err(|error| DialError::Setup { reason: error.to_string() })?;
        Ok(Self { address: address.into(), config, cell: Some(cell.clone()) })
    }

    /// A joiner's, which presents nothing.
    pub(crate) fn anonymous(address: &str, config: Arc<ClientConfig>) -> Self {
        Self { address: address.into(), config, cell: None }
    }

    async fn open(&self) -> Result<ClientStream, DialError> {
        let address = || self.address.to_string();
        if let Some(held) = self.cell.as_ref().map(CredentialsCell::get)
            && held.is_expired(SystemTime::now())
        {
            return Err(DialError::Expired { since: moment(held.not_after()) });
        }
        let tcp = TcpStream::connect(&*self.address)
            .await
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|error| DialError::Unreachable { address: address(), reason: error.to_string() })?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect(controller_name(), tcp)
            .await
            .map(|tls| ClientStream::new(tls, Arc::clone(&self.address)))
            .map_err(|error| handshake_error(address(), &error))
    }
}

fn handshake_error(address: String, error: &std::io::Error) -> DialError {
    match find::<rustls::Error>(error) {
        Some(tls) if pin_error(tls) == Some(PinError::OtherCluster) => DialError::OtherCluster { address },
        Some(tls) => DialError::Tls { address, reason: tls_reason(tls) },
        None => DialError::Unreachable { address, reason: error.to_string() },
    }
}

fn controller_name() -> ServerName<'static> {
    let name = Role::Controller.server_name().expect("controllers serve");
    ServerName::try_from(name).expect("a constant that is a DNS name")
}

fn connector(
    target: Target,
) -> impl tower::Service<
    Uri,
    Response = TokioIo<ClientStream>,
    Error = DialError,
    Future: Future<Output = Result<TokioIo<ClientStream>, DialError>> + Send,
> + Send
+ 'static {
    tower::service_fn(move |_: Uri| {
        let target = target.clone();
        async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, target.open()).await {
                Ok(opened) => opened.map(TokioIo::new),
                Err(_) => Err(DialError::Unreachable {
                    address: target.address.to_string(),
                    reason: format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
                }),
            }
        }
    })
}

fn endpoint(address: &str) -> Result<Endpoint, DialError> {
    let bad = || DialError::Address { address: address.chars().take(256).collect() };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err(bad());
    }
    // The connector does TLS itself: to tonic the connection is a plain one.
    Ok(Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| bad())?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// Why there is no connection to a controller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Not an address.
    #[error("{address:?} is not an address: write host:port")]
    Address {
        /// What was given, cut to 256 characters.
        address: String,
    },
    /// Nothing answers there.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Something answers, but one end does not trust the other.
    #[error("no trusted connection to {address}: {reason}")]
    Tls {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// A controller, but of another cluster than a joiner's token names.
    #[error(
        "the controller at {address} is not of the cluster that this token is for; check the address, or \
         take a token from that cluster with `wharf token show`"
    )]
    OtherCluster {
        /// The address.
        address: String,
    },
    /// Our own certificate holds no more.
    #[error("our own certificate expired at {since}; join again with a token")]
    Expired {
        /// When.
        since: String,
    },
    /// Our own credentials can't be used for TLS.
    #[error("{reason}")]
    Setup {
        /// Why.
        reason: String,
    },
    /// No addresses to try.
    #[error("no controller's address is known")]
    NoAddress,
    /// None of several controllers could be reached.
    #[error("no controller can be reached:{}", list(.attempts))]
    All {
        /// What each attempt ended with.
        attempts: Vec<DialError>,
    },
}

fn list(attempts: &[DialError]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}
