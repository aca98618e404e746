//! The folder where a part keeps its identity: `ca.pem`, `cert.pem` and `key.pem`.
//!
//! Certificate and key are replaced together at renewal, but are two files. The new key is therefore
//! written beside the old one first, then the certificate, and only then is the key moved into
//! place: whichever of them a crash leaves, one of the two keys fits the certificate.

use std::io;
use std::path::{Path, PathBuf};

use crate::credentials::{Credentials, CredentialsError};
use crate::file::{read_text, rename, write_private};

const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const NEXT_KEY: &str = "next-key.pem";

/// An identity folder.
#[derive(Debug, Clone)]
pub struct IdentityFolder {
    path: PathBuf,
}

impl IdentityFolder {
    /// The folder at a path; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the folder holds; `None` if nothing was ever saved there whole.
    pub fn load(&self) -> Result<Option<Credentials>, StoreError> {
        let (Some(ca), Some(cert)) = (self.read(AUTHORITY)?, self.read(CERTIFICATE)?) else {
            return Ok(None);
        };
        if let Some(next) = self.read(NEXT_KEY)?
            && let Ok(credentials) = Credentials::from_pem(&ca, &cert, &next)
        {
            self.promote_key()?;
            return Ok(Some(credentials));
        }
        let Some(key) = self.read(KEY)? else {
            return Ok(None);
        };
        Credentials::from_pem(&ca, &cert, &key)
            .map(Some)
            .map_err(|source| StoreError::Unusable { path: self.path.clone(), source })
    }

    /// Saves credentials, each file readable by its owner only.
    pub fn save(&self, credentials: &Credentials) -> Result<(), StoreError> {
        self.write(AUTHORITY, credentials.ca_pem())?;
        self.write(NEXT_KEY, credentials.key_pem())?;
        self.write(CERTIFICATE, credentials.cert_pem())?;
        self.promote_key()
    }

    fn promote_key(&self) -> Result<(), StoreError> {
        let to = self.path.join(KEY);
        rename(&self.path.join(NEXT_KEY), &to).map_err(|source| StoreError::Write { path: to, source })
    }

    fn read(&self, name: &str) -> Result<Option<String>, StoreError> {
        let path = self.path.join(name);
        read_text(&path).map_err(|source| StoreError::Read { path, source })
    }

    fn write(&self, name: &str, content: &str) -> Result<(), StoreError> {
        let path = self.path.join(name);
        write_private(&path, content.as_bytes()).map_err(|source| StoreError::Write { path, source })
    }
}

/// Why an identity or a context can't be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file can't be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are there, but don't make an identity.
    #[error("the identity in {path} can't be used: {source}; remove it and join again", path = path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: CredentialsError,
    },
    /// A context file that is not one.
    #[error("{path} is not a context: {reason}", path = path.display())]
    NotAContext {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
}
