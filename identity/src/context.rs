//! A client's context: one file with everything `wharf` needs to reach a cluster.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, CredentialsError};
use crate::file::{read_text, write_private};
use crate::store::StoreError;

/// A cluster's controllers, and the identity to meet them with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientContext {
    /// What people call it.
    pub name: String,
    /// The controllers, each as host:port.
    pub addresses: Vec<String>,
    /// The cluster authority's certificate.
    pub ca_pem: String,
    /// The client's certificate.
    pub cert_pem: String,
    /// The client's private key.
    pub key_pem: String,
}

impl ClientContext {
    /// A context with these credentials.
    pub fn new(name: impl Into<String>, addresses: Vec<String>, credentials: &Credentials) -> Self {
        Self {
            name: name.into(),
            addresses,
            ca_pem: credentials.ca_pem().to_owned(),
            cert_pem: credentials.cert_pem().to_owned(),
            key_pem: credentials.key_pem().to_owned(),
        }
    }

    /// The identity in it.
    pub fn credentials(&self) -> Result<Credentials, CredentialsError> {
        Credentials::from_pem(&self.ca_pem, &self.cert_pem, &self.key_pem)
    }

    /// Reads a context file, and checks that its credentials fit together.
    pub fn load(path: &Path) -> Result<Self, StoreError> {
        let read = |source| StoreError::Read { path: path.to_owned(), source };
        let text = read_text(path).map_err(read)?.ok_or_else(|| read(io::ErrorKind::NotFound.into()))?;
        let context: Self = serde_json::from_str(&text)
            .map_err(|error| StoreError::NotAContext { path: path.to_owned(), reason: error.to_string() })?;
        match context.credentials() {
            Ok(_) => Ok(context),
            Err(source) => Err(StoreError::Unusable { path: path.to_owned(), source }),
        }
    }

    /// Writes the context to a file that only its owner can read.
    pub fn save(&self, path: &Path) -> Result<(), StoreError> {
        let write = |source| StoreError::Write { path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| write(error.into()))?;
        text.push('\n');
        write_private(path, text.as_bytes()).map_err(write)
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
