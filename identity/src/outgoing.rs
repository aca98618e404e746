//! A client's TLS connection that says in words why the other end closed it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::dial::DialError;
use crate::explain::{find, tls_reason};

/// With TLS 1.3 a server's refusal of the client's certificate arrives when the client has long taken
/// the connection as made. What it says would be lost on the way up: HTTP/2 keeps only an I/O error's
/// kind and text. So the text is made here.
pub(crate) struct ClientStream {
    inner: TlsStream<TcpStream>,
    address: Arc<str>,
}

/// The kind of the errors whose text is a [`DialError`]'s; nothing else below HTTP/2 makes such.
const REFUSED: io::ErrorKind = io::ErrorKind::InvalidData;

impl ClientStream {
    pub(crate) fn new(inner: TlsStream<TcpStream>, address: Arc<str>) -> Self {
        Self { inner, address }
    }
}

/// The text that a [`ClientStream`] gave for the end of a connection, if this comes from one.
pub(crate) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    find::<io::Error>(error).filter(|error| error.kind() == REFUSED).map(ToString::to_string)
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf).map_err(|error| match find::<rustls::Error>(&error) {
            Some(tls) => {
                let (address, reason) = (self.address.to_string(), tls_reason(tls));
                io::Error::new(REFUSED, DialError::Tls { address, reason })
            }
            None => error,
        })
    }
}

impl AsyncWrite for ClientStream {
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::net::TcpListener;
    use wharf_proto::v1::RenewRequest;
    use wharf_proto::v1::identity_api_client::IdentityApiClient;

    use crate::dial::{Target, connect_with};
    use crate::{
        Authority, Credentials, CredentialsCell, Identity, KeyAndRequest, Protocols, Role, client_config,
        explain, server_config, tls_incoming,
    };

    fn issue(authority: &Authority, role: Role, at: SystemTime) -> Credentials {
        let key = KeyAndRequest::generate().unwrap();
        let identity = Identity::new(authority.cluster(), role, "x1").unwrap();
        let hour = Duration::from_secs(3600);
        let cert = authority.issue(&key.csr_pem, &identity, &[], at, hour).unwrap();
        Credentials::from_pem(authority.certificate_pem(), &cert, &key.key_pem).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_that_comes_late_still_says_why() {
        let now = SystemTime::now();
        let authority = Authority::create("c1", now).unwrap();
        let server = CredentialsCell::new(issue(&authority, Role::Controller, now));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let _incoming = tls_incoming(listener, server_config(&server, Protocols::Http2).unwrap());

        // To be refused by the server, and not before, a client's clock has to differ: presented
        // without the look at our own dates that comes before dialing.
        let late = CredentialsCell::new(issue(&authority, Role::Agent, now - Duration::from_secs(7200)));
        let target = Target::anonymous(&address, client_config(&late).unwrap());
        let channel = connect_with(&address, target).await.unwrap();
        let status = IdentityApiClient::new(channel).renew(RenewRequest::default()).await.unwrap_err();
        assert_eq!(
            explain(&status).unwrap_or_else(|| panic!("no reason in {status:?}")),
            format!(
                "no trusted connection to {address}: it says that our certificate has expired; join again \
                 with a token"
            )
        );
    }
}
