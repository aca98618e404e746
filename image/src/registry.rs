//! The client side of the OCI distribution protocol, over reqwest: resolving, fetching and uploading.
//!
//! Every answer is read within a bound, every wait has a limit, and what can pass by itself is tried again.

mod auth;
mod error;
mod http;
mod tls;
mod upload;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use reqwest::{Method, StatusCode, header};

pub use crate::registry::auth::Credentials;
pub use crate::registry::error::RegistryError;
pub use crate::registry::tls::ClientIdentity;
pub use crate::registry::upload::BlobSource;

use crate::content::{ContentError, Ingest};
use crate::digest::Digest;
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT, media_type};
use crate::reference::ImageName;
use crate::registry::auth::Tokens;
use crate::registry::error::Failure;
use crate::registry::http::{Http, RequestSpec, body_within};

/// How to reach registries.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Certificates (PEM, any number in each) to trust besides the system's, such as the cluster's CA.
    pub extra_roots: Vec<Vec<u8>>,
    /// Who to be for registries that ask for a client certificate of one of `extra_roots`, as the cluster's own may
    /// for pushes. No other registry gets to see it.
    pub identity: Option<ClientIdentity>,
    /// Registries (`HOST` or `HOST:PORT`) that are spoken to in plain HTTP. Loopback is without being listed, if it
    /// has no TLS.
    pub plain_http: HashSet<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a registry may say nothing.
    pub read_timeout: Duration,
    /// How often a request is tried in all when what failed may pass by itself.
    pub attempts: u32,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        RegistryOptions {
            extra_roots: Vec::new(),
            identity: None,
            plain_http: HashSet::new(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            attempts: 4,
        }
    }
}

/// Speaks to registries. Cheap to clone.
#[derive(Clone)]
pub struct RegistryClient {
    http: Arc<Http>,
}

/// A manifest or index as a registry gave it.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What it is and its digest.
    pub descriptor: Descriptor,
    /// The very bytes.
    pub bytes: Bytes,
    /// What they say.
    pub document: Document,
}

impl RegistryClient {
    /// A client with these options. TLS is set up when a registry is first spoken to through it.
    pub fn new(options: RegistryOptions) -> Self {
        RegistryClient { http: Arc::new(Http::new(options, Tokens::default())) }
    }

    /// The digest that a name stands for now. None if the registry doesn't say without sending the manifest.
    pub async fn resolve(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
    ) -> Result<Option<Digest>, RegistryError> {
        let spec = self.manifest_request(Method::HEAD, name, &name.manifest_reference()).await;
        let response = match self.http.send(name, credentials, &spec).await {
            Ok(response) => response,
            // Not every registry knows HEAD.
            Err(RegistryError::Refused { status: 405, .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        let digest =
            response.headers().get("docker-content-digest").and_then(|d| d.to_str().ok()?.parse().ok());
        Ok(digest)
    }

    /// Fetches a manifest or index by the name's digest or tag and checks its digest.
    pub async fn manifest(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
    ) -> Result<Fetched, RegistryError> {
        let spec = self.manifest_request(Method::GET, name, &name.manifest_reference()).await;
        let (bytes, content_type) = self
            .http
            .retrying(name, || {
                async {
                    let response = self.http.send_once(name, credentials, &spec).await?;
                    let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
                    Ok((body_within(response, MAX_DOCUMENT).await?, content_type))
                }
                .boxed()
            })
            .await?;
        if let Some(digest) = name.digest() {
            digest.check(&bytes)?;
        }
        let digest = name.digest().copied().unwrap_or_else(|| Digest::of(&bytes));
        let content_type = content_type.as_ref().and_then(|t| t.to_str().ok());
        let document = Document::parse(&bytes, content_type)
            .map_err(|cause| RegistryError::BadManifest { name: name.familiar(), cause })?;
        let descriptor = Descriptor::new(document.media_type(), digest, bytes.len() as u64);
        Ok(Fetched { descriptor, bytes, document })
    }

    /// Fetches a small blob, such as a config, into memory and checks it.
    pub async fn small_blob(
        &self,
        name: &ImageName,
        blob: &Descriptor,
        credentials: Option<&Credentials>,
    ) -> Result<Bytes, RegistryError> {
        let spec = self.blob_request(Method::GET, name, &blob.digest).await;
        let limit = blob.size.min(MAX_DOCUMENT);
        let bytes = self
            .http
            .retrying(name, || {
                async {
                    let response = self.http.send_once(name, credentials, &spec).await?;
                    body_within(response, limit).await
                }
                .boxed()
            })
            .await?;
        blob.digest.check(&bytes)?;
        Ok(bytes)
    }

    /// Streams a blob into `ingest`, going on where it broke off when the connection breaks. `on_bytes` hears how
    /// many bytes are there. Digest and size are for [`Ingest::commit`] to check.
    pub async fn blob(
        &self,
        name: &ImageName,
        blob: &Descriptor,
        credentials: Option<&Credentials>,
        ingest: &mut Ingest,
        mut on_bytes: impl FnMut(u64),
    ) -> Result<(), FetchError> {
        let mut failed = 0;
        loop {
            let before = ingest.taken();
            match self.blob_part(name, blob, credentials, ingest, &mut on_bytes).await {
                Ok(()) => return Ok(()),
                Err(PartError::Content(e)) => return Err(FetchError::Content(e)),
                Err(PartError::Failure(failure)) => {
                    // A connection that breaks now and then but moves on is no dead registry.
                    failed = if ingest.taken() > before { 1 } else { failed + 1 };
                    if let Some(error) = self.http.pause_or_give_up(name, failed, failure).await {
                        return Err(FetchError::Registry(error));
                    }
                }
            }
        }
    }

    async fn blob_part(
        &self,
        name: &ImageName,
        blob: &Descriptor,
        credentials: Option<&Credentials>,
        ingest: &mut Ingest,
        on_bytes: &mut impl FnMut(u64),
    ) -> Result<(), PartError> {
        let mut spec = self.blob_request(Method::GET, name, &blob.digest).await;
        if ingest.taken() > 0 {
            spec.headers.push((header::RANGE, format!("bytes={}-", ingest.taken())));
        }
        let mut response = self.http.send_once(name, credentials, &spec).await?;
        if ingest.taken() > 0 && !continues_at(&response, ingest.taken()) {
            ingest.reset().await?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                return Err(
                    Failure::Retry("the registry sent another range than was asked for".into()).into()
                );
            }
        }
        while let Some(bytes) = response.chunk().await.map_err(Failure::from)? {
            ingest.write(bytes).await?;
            on_bytes(ingest.taken());
        }
        if ingest.taken() < blob.size {
            // The connection ended early without an error, or the blob is really too short: trying again tells.
            return Err(Failure::Retry(format!(
                "the registry sent {} of {} bytes",
                ingest.taken(),
                blob.size
            ))
            .into());
        }
        Ok(())
    }

    async fn manifest_request(&self, method: Method, name: &ImageName, reference: &str) -> RequestSpec {
        let mut spec = RequestSpec::new(method, self.http.url(name, &format!("manifests/{reference}")).await);
        spec.headers.push((header::ACCEPT, media_type::ACCEPTED.join(", ")));
        spec
    }

    async fn blob_request(&self, method: Method, name: &ImageName, digest: &Digest) -> RequestSpec {
        RequestSpec::new(method, self.http.url(name, &format!("blobs/{digest}")).await)
    }
}

fn continues_at(response: &reqwest::Response, offset: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|r| r.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_none_or(|r| r.trim_start_matches("bytes ").starts_with(&format!("{offset}-")))
}

/// Why a blob did not come.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The registry's side.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The disk's side, or wrong bytes.
    #[error(transparent)]
    Content(#[from] ContentError),
}

enum PartError {
    Failure(Failure),
    Content(ContentError),
}

impl From<Failure> for PartError {
    fn from(e: Failure) -> Self {
        PartError::Failure(e)
    }
}

impl From<ContentError> for PartError {
    fn from(e: ContentError) -> Self {
        PartError::Content(e)
    }
}
