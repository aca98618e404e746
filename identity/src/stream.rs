//! An accepted TLS connection that knows who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::certificate::{CertificateError, Leaf};
use crate::peer::Peer;

/// Timers further away than this are as good as none, and stay within what timers can count.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A TLS connection of a server, ended when the certificate that the client opened it with expires:
/// a client that has renewed its certificate by then connects anew, one that could not is out.
#[derive(Debug)]
pub struct ServerStream {
    inner: TlsStream<TcpStream>,
    peer: Peer,
    expiry: Option<Pin<Box<Sleep>>>,
}

impl ServerStream {
    pub(crate) fn new(
        inner: TlsStream<TcpStream>,
        remote_addr: SocketAddr,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let leaf = match inner.get_ref().1.peer_certificates() {
            Some([first, ..]) => Some(Leaf::from_der(first)?),
            _ => None,
        };
        let expiry = leaf.as_ref().map(|leaf| {
            let left = leaf.not_after.duration_since(now).unwrap_or_default().min(FAR);
            Box::pin(sleep_until(Instant::now() + left))
        });
        Ok(Self { inner, peer: Peer::new(leaf, remote_addr), expiry })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether both ends agreed on HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.inner.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl Connected for ServerStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(expiry) = &mut self.expiry
            && expiry.as_mut().poll(cx).is_ready()
        {
            let reason = "the certificate that the connection was opened with has expired";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason)));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
