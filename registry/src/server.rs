//! The process around the API: the listener, connections, and an orderly end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use futures::StreamExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_identity::{ServerStream, TlsIncoming, tls_incoming};

use crate::api::{Api, Client};
use crate::storage::{Limits, Storage, StorageError};

/// The most connections at once; further ones wait in the kernel's queue. With the next figure it bounds
/// memory: each upload costs about 1 MiB.
const MAX_CONNECTIONS: usize = 512;
/// The most requests at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 16;
/// How long a client may take to send a request's headers, or be quiet between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// After this long without an acknowledgement the kernel gives a connection up, so that a client that
/// vanished in the middle of a download does not hold it for ever.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// How long requests that are under way may go on when the server is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How often uploads that nobody goes on with are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);
/// What to wait when the machine is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The folder for everything that is stored.
    pub data_dir: PathBuf,
    /// Bounds for clients.
    pub limits: Limits,
    /// TLS settings; plain HTTP without.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether changes are taken only from clients with a certificate of the cluster.
    pub push_needs_certificate: bool,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("cannot listen on {addr}: {cause}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A registry that listens.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    storage: Arc<Storage>,
    api: Api,
}

impl Server {
    /// Opens the store and begins to listen. Connections are answered once `run` runs.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let storage = Arc::new(Storage::open(&settings.data_dir, settings.limits)?);
        let listen = |cause| StartError::Listen { addr: settings.listen, cause };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        // Accepted connections inherit these.
        let ms = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
        setsockopt(&listener, sockopt::TcpUserTimeout, &ms).map_err(|e| listen(e.into()))?;
        setsockopt(&listener, sockopt::KeepAlive, &true).map_err(|e| listen(e.into()))?;
        let api = Api::new(Arc::clone(&storage), settings.push_needs_certificate);
        Ok(Server { listener, addr, tls: settings.tls, storage, api })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` is done; then requests under way get a few seconds to end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let purge = tokio::spawn(purge_uploads(self.storage));
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut accepting = match self.tls {
            Some(config) => Accepting::Tls(tls_incoming(self.listener, config)),
            None => Accepting::Plain(self.listener),
        };
        let mut stop = std::pin::pin!(stop);
        loop {
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, accepting.next().await)
            };
            let (slot, accepted) = tokio::select! {
                (Ok(slot), accepted) = next => (slot, accepted),
                () = &mut stop => break,
            };
            match accepted {
                Ok(Connection::Plain(stream, client)) => {
                    serve(self.api.clone(), stream, client, false, slot, &graceful);
                }
                Ok(Connection::Tls(stream, client)) => {
                    let http2 = stream.is_http2();
                    serve(self.api.clone(), *stream, client, http2, slot, &graceful);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(accepting);
        purge.abort();
        if tokio::time::timeout(STOP_GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("cut off requests that did not end in time");
        }
    }
}

enum Accepting {
    Plain(TcpListener),
    Tls(TlsIncoming),
}

enum Connection {
    Plain(TcpStream, Client),
    Tls(Box<ServerStream>, Client),
}

impl Accepting {
    async fn next(&mut self) -> io::Result<Connection> {
        match self {
            Accepting::Plain(listener) => {
                let (stream, addr) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Connection::Plain(stream, Client { addr, has_certificate: false }))
            }
            Accepting::Tls(incoming) => {
                let stream =
                    incoming.next().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))?;
                let peer = stream.peer();
                let client = Client { addr: peer.remote_addr(), has_certificate: peer.identity().is_some() };
                Ok(Connection::Tls(Box::new(stream), client))
            }
        }
    }
}

fn serve<S>(
    api: Api,
    stream: S,
    client: Client,
    http2: bool,
    slot: OwnedSemaphorePermit,
    graceful: &GracefulShutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.handle(client, request.map(Body::new)).await) }
    });
    // The protocol is settled by TLS, and is HTTP/1 without: to find it out from the first bytes would
    // mean to wait for them without a bound.
    let mut builder = Builder::new(TokioExecutor::new());
    if http2 {
        builder = builder.http2_only();
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEADER_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS);
    } else {
        builder = builder.http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    }
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(client = %client.addr, %error, "connection ended");
        }
        drop(slot);
    });
}

async fn purge_uploads(storage: Arc<Storage>) {
    let mut ticks = tokio::time::interval(PURGE_EVERY);
    loop {
        ticks.tick().await;
        match storage.purge_uploads(SystemTime::now()).await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(uploads, "removed uploads that nobody went on with"),
            Err(error) => tracing::warn!(%error, "could not look for old uploads"),
        }
    }
}
