//! Accepting TLS connections for tonic and hyper.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tonic::transport::Server;
use tracing::{debug, warn};

use crate::dial::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use crate::explain::{find, tls_reason};
use crate::stream::ServerStream;

/// A client that takes longer to introduce itself is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once; more clients wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 256;
/// What to wait when the process or the machine is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections accepted by a listener, once their handshakes are done.
pub struct TlsIncoming {
    accepted: mpsc::Receiver<ServerStream>,
}

impl Stream for TlsIncoming {
    type Item = io::Result<ServerStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// Accepts connections until the returned stream is dropped. Handshakes run side by side, so that a
/// slow client holds nobody up; one that fails is logged and never reaches the stream.
pub fn tls_incoming(listener: TcpListener, config: Arc<ServerConfig>) -> TlsIncoming {
    let (ready, accepted) = mpsc::channel(64);
    tokio::spawn(accept_all(listener, TlsAcceptor::from(config), ready));
    TlsIncoming { accepted }
}

/// A gRPC server with the keepalive that lets it notice clients which vanished.
pub fn grpc_server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

async fn accept_all(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<ServerStream>) {
    let slots = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    // Dropped, and with it every handshake under way, when the stream is.
    let mut handshakes = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        match accepted {
            Ok((tcp, remote)) => {
                let (acceptor, ready) = (acceptor.clone(), ready.clone());
                handshakes.spawn(async move {
                    let stream = introduce(acceptor, tcp, remote).await;
                    drop(slot);
                    if let Some(stream) = stream {
                        // Nobody to receive it: the server is stopping.
                        let _ = ready.send(stream).await;
                    }
                });
            }
            Err(error) if is_of_one_connection(&error) => {
                debug!(%error, "connection lost before it was accepted");
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while handshakes.try_join_next().is_some() {}
    }
}

/// Does one handshake. `None` if there is no connection at its end; the reason has been logged.
async fn introduce(acceptor: TlsAcceptor, tcp: TcpStream, remote: SocketAddr) -> Option<ServerStream> {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%remote, %error, "connection lost before its TLS handshake");
        return None;
    }
    let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            match find::<rustls::Error>(&error) {
                Some(tls) => warn!(%remote, reason = tls_reason(tls), "refused a TLS connection"),
                // Port scans and load balancers' probes look like this.
                None => debug!(%remote, %error, "connection lost in its TLS handshake"),
            }
            return None;
        }
        Err(_) => {
            debug!(%remote, "no TLS handshake in time");
            return None;
        }
    };
    match ServerStream::new(tls, remote, SystemTime::now()) {
        Ok(stream) => Some(stream),
        Err(error) => {
            warn!(%remote, %error, "refused a TLS connection");
            None
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
