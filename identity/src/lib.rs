//! Who is who in a cluster: the cluster's own certificate authority, the certificates and join
//! tokens it gives out, and the mutually authenticated TLS that every part of Wharf speaks.
//!
//! A certificate carries an [`Identity`]: the cluster, a [`Role`] and an id. Nothing else is looked
//! at to decide who a peer is; addresses and host names don't matter inside a cluster, because each
//! role answers to one fixed name (see [`Role::server_name`]).

mod admit;
mod authority;
mod certificate;
mod context;
mod credentials;
mod dial;
mod dialer;
mod explain;
pub mod file;
mod join;
mod keys;
mod names;
mod outgoing;
mod peer;
mod pin;
mod renew;
mod role;
mod serve;
mod store;
mod stream;
mod tls;
mod token;

pub use admit::{KnownToken, TokenRefusal, admit};
pub use authority::{Authority, AuthorityError, CA_LIFETIME, CERTIFICATE_LIFETIME, CLOCK_SKEW};
pub use certificate::{CertificateError, Leaf};
pub use context::ClientContext;
pub use credentials::{Credentials, CredentialsCell, CredentialsError};
pub use dial::{DialError, channel, connect};
pub use dialer::{Connected, Dialer};
pub use explain::explain;
pub use join::{JoinDetails, JoinError, Joined, WrongAnswer, join};
pub use keys::{KeyAndRequest, KeyError};
pub use names::{SubjectName, SubjectNameError};
pub use peer::{Peer, peer, remote_addr, require_role};
pub use renew::{RenewError, renew, spawn_renewal};
pub use role::{Identity, IdentityError, Role};
pub use serve::{TlsIncoming, grpc_server, tls_incoming};
pub use store::{IdentityFolder, StoreError};
pub use stream::ServerStream;
pub use tls::{Protocols, TlsError, client_config, server_config};
pub use token::{CaHash, JoinToken, TokenError, TokenSecret};
