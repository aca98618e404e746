//! Uploading blobs, in one piece or in chunks that can go on where one broke off, and manifests.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url, header};
use tokio_util::io::ReaderStream;

use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::reference::ImageName;
use crate::registry::auth::Access;
use crate::registry::error::{Failure, Problem};
use crate::registry::http::{RequestSpec, judge};
use crate::registry::{Credentials, RegistryClient, RegistryError};

const OCTETS: &str = "application/octet-stream";

/// A blob to upload: a file of known size.
#[derive(Debug, Clone)]
pub struct BlobSource {
    /// Where its bytes are.
    pub path: PathBuf,
    /// How many.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
}

/// Hears how many bytes are out.
type OnBytes = Arc<dyn Fn(u64) + Send + Sync>;

impl RegistryClient {
    /// Whether the registry has a blob in this repository.
    pub async fn blob_exists(
        &self,
        name: &ImageName,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) -> Result<bool, RegistryError> {
        let mut spec = self.blob_request(Method::HEAD, name, digest).await;
        spec.access = Access::Push;
        match self.http.send(name, credentials, &spec).await {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Uploads a blob: in pieces of `chunk` bytes if given, else in one request.
    pub async fn upload_blob(
        &self,
        name: &ImageName,
        source: &BlobSource,
        credentials: Option<&Credentials>,
        chunk: Option<u64>,
        on_bytes: OnBytes,
    ) -> Result<(), RegistryError> {
        match chunk.filter(|chunk| (1..source.size).contains(chunk)) {
            Some(chunk) => self.upload_chunked(name, source, credentials, chunk, on_bytes).await,
            None => {
                self.http
                    .retrying(name, || self.upload_whole(name, source, credentials, &on_bytes).boxed())
                    .await
            }
        }
    }

    /// Puts a manifest under the name's tag, or under its digest.
    pub async fn put_manifest(
        &self,
        name: &ImageName,
        manifest: &Descriptor,
        bytes: Bytes,
        credentials: Option<&Credentials>,
    ) -> Result<(), RegistryError> {
        let reference = name.tag().map_or_else(|| manifest.digest.to_string(), str::to_owned);
        let mut spec =
            RequestSpec::new(Method::PUT, self.http.url(name, &format!("manifests/{reference}")).await);
        spec.headers.push((header::CONTENT_TYPE, manifest.media_type.clone()));
        spec.body = bytes;
        spec.access = Access::Push;
        self.http.send(name, credentials, &spec).await.map(drop)
    }

    async fn upload_whole(
        &self,
        name: &ImageName,
        source: &BlobSource,
        credentials: Option<&Credentials>,
        on_bytes: &OnBytes,
    ) -> Result<(), Failure> {
        let mut location = self.begin_upload(name, credentials).await?;
        location.query_pairs_mut().append_pair("digest", &source.digest.to_string());
        let client = self.http.client().await?;
        let file = open(source)?;
        let request = || {
            let builder = client
                .put(location.clone())
                .header(header::CONTENT_TYPE, OCTETS)
                .header(header::CONTENT_LENGTH, source.size);
            let mut sent = 0;
            let on_bytes = on_bytes.clone();
            let pieces = ReaderStream::with_capacity(FileAt::new(file.clone()), 128 * 1024);
            builder.body(Body::wrap_stream(pieces.inspect_ok(move |piece| {
                sent += piece.len() as u64;
                on_bytes(sent);
            })))
        };
        self.send_to(name, &location, credentials, request).await.map(drop)
    }

    async fn upload_chunked(
        &self,
        name: &ImageName,
        source: &BlobSource,
        credentials: Option<&Credentials>,
        chunk: u64,
        on_bytes: OnBytes,
    ) -> Result<(), RegistryError> {
        let mut location = self.http.retrying(name, || self.begin_upload(name, credentials).boxed()).await?;
        let (mut offset, mut failed) = (0, 0);
        while offset < source.size {
            let end = source.size.min(offset + chunk);
            match self.upload_chunk(name, source, credentials, &location, offset..end).await {
                Ok(next) => {
                    location = next;
                    (offset, failed) = (end, 0);
                    on_bytes(offset);
                }
                Err(failure) => {
                    failed += 1;
                    if let Some(error) = self.http.pause_or_give_up(name, failed, failure).await {
                        return Err(error);
                    }
                    // How much of the chunk arrived is for the registry to say.
                    let at = location.clone();
                    (location, offset) = self
                        .http
                        .retrying(name, || self.upload_status(name, credentials, &at).boxed())
                        .await?;
                }
            }
        }
        location.query_pairs_mut().append_pair("digest", &source.digest.to_string());
        let finish = || {
            async {
                let client = self.http.client().await?;
                let request = || client.put(location.clone()).header(header::CONTENT_LENGTH, 0);
                self.send_to(name, &location, credentials, request).await.map(drop)
            }
            .boxed()
        };
        self.http.retrying(name, finish).await
    }

    async fn begin_upload(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
    ) -> Result<Url, Failure> {
        let mut spec = RequestSpec::new(Method::POST, self.http.url(name, "blobs/uploads/").await);
        spec.access = Access::Push;
        let response = self.http.send_once(name, credentials, &spec).await?;
        self.location(name, &response).await
    }

    async fn upload_chunk(
        &self,
        name: &ImageName,
        source: &BlobSource,
        credentials: Option<&Credentials>,
        location: &Url,
        range: std::ops::Range<u64>,
    ) -> Result<Url, Failure> {
        let file = open(source)?;
        let length = range.end - range.start;
        let start = range.start;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
            file.read_exact_at(&mut bytes, start).map(|()| Bytes::from(bytes))
        });
        let bytes = read.await.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(|e| local(&e))?;
        let client = self.http.client().await?;
        let request = || {
            client
                .patch(location.clone())
                .header(header::CONTENT_TYPE, OCTETS)
                .header(header::CONTENT_LENGTH, length)
                .header(header::CONTENT_RANGE, format!("{}-{}", range.start, range.end - 1))
                .body(bytes.clone())
        };
        let response = self.send_to(name, location, credentials, request).await.map_err(|e| match e {
            // "Range not satisfiable": it has another offset in mind, which its status tells.
            Failure::Final(Problem::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }) => {
                Failure::Retry("it expects another chunk".into())
            }
            e => e,
        })?;
        self.location(name, &response).await
    }

    async fn upload_status(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
        location: &Url,
    ) -> Result<(Url, u64), Failure> {
        let client = self.http.client().await?;
        let response = self.send_to(name, location, credentials, || client.get(location.clone())).await?;
        let range = response.headers().get(header::RANGE).and_then(|r| r.to_str().ok());
        let last: Option<u64> = range.and_then(|r| r.rsplit_once('-')?.1.parse().ok());
        // "0-0" stands for nothing as well as for one byte: starting at 0 is refused in the second case only,
        // and one byte is never all of a chunk.
        let offset = last.filter(|n| *n > 0).map_or(0, |n| n + 1);
        let next = self.location(name, &response).await.unwrap_or_else(|_| location.clone());
        Ok((next, offset))
    }

    /// Sends an upload's request to where the registry wants it, with credentials only if that is the registry.
    async fn send_to(
        &self,
        name: &ImageName,
        location: &Url,
        credentials: Option<&Credentials>,
        mut request: impl FnMut() -> RequestBuilder,
    ) -> Result<Response, Failure> {
        if self.http.is_own(name, location).await {
            self.http.send_with(name, credentials, Access::Push, request).await
        } else {
            judge(request().send().await?, false).await
        }
    }

    /// Where an answer says to go on.
    async fn location(&self, name: &ImageName, response: &Response) -> Result<Url, Failure> {
        let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
        match location.and_then(|l| response.url().join(l).ok()) {
            Some(url) if url.scheme() == "https" || self.http.is_own(name, &url).await => Ok(url),
            _ => Err(Failure::Final(Problem::Protocol("it gave no proper place to upload to".into()))),
        }
    }
}

fn open(source: &BlobSource) -> Result<Arc<File>, Failure> {
    File::open(&source.path).map(Arc::new).map_err(|e| local(&e))
}

/// The failure is on this side.
fn local(e: &std::io::Error) -> Failure {
    Failure::Final(Problem::Setup(format!("the blob to upload can't be read: {e}")))
}

/// Reads a shared file from its start; small reads from the page cache need no thread of their own.
struct FileAt {
    file: Arc<File>,
    offset: u64,
}

impl FileAt {
    fn new(file: Arc<File>) -> Self {
        FileAt { file, offset: 0 }
    }
}

impl tokio::io::AsyncRead for FileAt {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let n = self.file.read_at(buffer.initialize_unfilled(), self.offset)?;
        buffer.advance(n);
        self.offset += n as u64;
        std::task::Poll::Ready(Ok(()))
    }
}
