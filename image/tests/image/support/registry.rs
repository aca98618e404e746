//! A registry server for tests: small, real HTTP, and wrong when told to be.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use wharf_image::{Digest, ImageName};

use super::faults::{Fault, Gate};

const TOKEN: &str = "a-good-token";

#[derive(Default)]
pub(crate) struct State {
    pub blobs: Mutex<HashMap<Digest, Bytes>>,
    /// By `repository:tag` and `repository@digest`.
    pub manifests: Mutex<HashMap<String, (String, Bytes)>>,
    pub faults: Mutex<HashMap<Digest, Fault>>,
    pub gate: Mutex<Option<Gate>>,
    uploads: Mutex<HashMap<u64, Vec<u8>>>,
    /// Chunks to lose on their way in, once each: how many bytes of one still arrive.
    pub lose_chunk: Mutex<Option<usize>>,
    requests: Mutex<Vec<String>>,
}

pub(crate) struct Registry {
    pub address: SocketAddr,
    pub state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let app = app(state.clone(), address);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Registry { address, state, server }
    }

    pub(crate) fn name(&self, rest: &str) -> ImageName {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    /// The requests so far, as `METHOD path`, and starts counting anew.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock())
    }

    pub(crate) fn fault(&self, digest: Digest, fault: Fault) {
        self.state.faults.lock().insert(digest, fault);
    }
}

fn app(state: Arc<State>, address: SocketAddr) -> axum::Router {
    axum::Router::new().fallback(move |request: Request| {
        let state = state.clone();
        async move { state.answer(address, request).await }
    })
}

fn response(status: StatusCode, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn error(status: StatusCode, code: &str) -> Response {
    response(status, format!(r#"{{"errors":[{{"code":"{code}","message":"it is {code}"}}]}}"#))
}

impl State {
    async fn answer(&self, address: SocketAddr, request: Request) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        if path == "/token" {
            return self.token(&request);
        }
        self.requests.lock().push(format!("{method} {path}"));
        if let Some(refusal) = self.refuse(address, &request) {
            return refusal;
        }
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        if let Some((repository, reference)) = rest.split_once("/manifests/") {
            let by_digest = reference.contains(':');
            let key = format!("{repository}{}{reference}", if by_digest { '@' } else { ':' });
            return self.manifest(&method, repository, &key, request).await;
        }
        if let Some((_, upload)) = rest.split_once("/blobs/uploads/") {
            return self.upload(&method, &path, upload, request).await;
        }
        match rest.split_once("/blobs/").and_then(|(_, digest)| digest.parse().ok()) {
            Some(digest) => {
                let range = request.headers().get(header::RANGE).map(|r| r.to_str().unwrap().to_owned());
                drop(request);
                self.blob(&method, digest, range).await
            }
            None => error(StatusCode::NOT_FOUND, "UNKNOWN"),
        }
    }

    fn refuse(&self, address: SocketAddr, request: &Request) -> Option<Response> {
        let gate = self.gate.lock().clone()?;
        let sent = request.headers().get(header::AUTHORIZATION).map(|h| h.to_str().unwrap().to_owned());
        let (wanted, challenge) = match gate {
            Gate::Basic { username, password } => {
                (basic(username, password), "Basic realm=\"test\"".to_owned())
            }
            Gate::Token { .. } => (
                format!("Bearer {TOKEN}"),
                format!("Bearer realm=\"http://{address}/token\",service=\"test\",scope=\"x\""),
            ),
        };
        if sent.as_deref() == Some(&wanted) {
            return None;
        }
        let mut refusal = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        Some(refusal)
    }

    fn token(&self, request: &Request) -> Response {
        let Some(Gate::Token { username, password }) = self.gate.lock().clone() else {
            return error(StatusCode::NOT_FOUND, "UNKNOWN");
        };
        let sent = request.headers().get(header::AUTHORIZATION).map(|h| h.to_str().unwrap().to_owned());
        if sent != Some(basic(username, password)) {
            return error(StatusCode::UNAUTHORIZED, "DENIED");
        }
        response(StatusCode::OK, format!(r#"{{"token":"{TOKEN}","expires_in":300}}"#))
    }

    async fn manifest(&self, method: &Method, repository: &str, key: &str, request: Request) -> Response {
        if method == Method::PUT {
            let media_type = request.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            let bytes = to_bytes(request.into_body(), 1 << 23).await.unwrap();
            let digest = Digest::of(&bytes);
            let mut manifests = self.manifests.lock();
            manifests.insert(key.to_owned(), (media_type.clone(), bytes.clone()));
            manifests.insert(format!("{repository}@{digest}"), (media_type, bytes));
            return response(StatusCode::CREATED, "");
        }
        let Some((media_type, bytes)) = self.manifests.lock().get(key).cloned() else {
            return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        };
        Response::builder()
            .header(header::CONTENT_TYPE, media_type)
            .header("docker-content-digest", Digest::of(&bytes).to_string())
            .body(if method == Method::HEAD { Body::empty() } else { bytes.into() })
            .unwrap()
    }

    async fn blob(&self, method: &Method, digest: Digest, range: Option<String>) -> Response {
        let Some(bytes) = self.blobs.lock().get(&digest).cloned() else {
            return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
        };
        if method == Method::HEAD {
            return response(StatusCode::OK, "");
        }
        let mut start: usize = range
            .map_or(0, |r| r.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap());
        let fault = self.faults.lock().get(&digest).cloned();
        match fault {
            None => {}
            Some(Fault::Corrupt) => {
                let mut bytes = bytes.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                return response(StatusCode::OK, bytes);
            }
            Some(Fault::Short(length)) => return response(StatusCode::OK, bytes.slice(..length)),
            Some(Fault::BreakOnce(at)) => {
                self.faults.lock().remove(&digest);
                return broken(bytes.slice(..at));
            }
            Some(Fault::BreakOnceWithoutRanges(at)) => {
                if start == 0 {
                    return broken(bytes.slice(..at));
                }
                self.faults.lock().remove(&digest);
                start = 0;
            }
            Some(Fault::Unavailable(0)) => {}
            Some(Fault::Unavailable(n)) => {
                self.faults.lock().insert(digest, Fault::Unavailable(n - 1));
                return error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
            }
            Some(Fault::Hold(permits)) => permits.acquire().await.unwrap().forget(),
        }
        if start == 0 {
            return response(StatusCode::OK, bytes);
        }
        let total = bytes.len();
        let mut answer = response(StatusCode::PARTIAL_CONTENT, bytes.slice(start..));
        let range = format!("bytes {start}-{}/{total}", total - 1);
        answer.headers_mut().insert(header::CONTENT_RANGE, range.parse().unwrap());
        answer
    }

    async fn upload(&self, method: &Method, path: &str, upload: &str, request: Request) -> Response {
        if method == Method::POST {
            let id = fastrand::u64(..);
            self.uploads.lock().insert(id, Vec::new());
            return placed(StatusCode::ACCEPTED, &format!("{path}{id}"), 0);
        }
        let id: u64 = upload.parse().unwrap();
        let Some(mut bytes) = self.uploads.lock().get(&id).cloned() else {
            return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        };
        let range = request.headers().get(header::CONTENT_RANGE).map(|r| r.to_str().unwrap().to_owned());
        let digest =
            request.uri().query().and_then(|q| q.split_once("digest=")).map(|(_, d)| d.replace("%3A", ":"));
        if let Some(range) = range
            && range.split_once('-').unwrap().0 != bytes.len().to_string()
        {
            return error(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID");
        }
        let body = to_bytes(request.into_body(), 1 << 26).await.unwrap();
        if method == Method::PATCH
            && let Some(kept) = self.lose_chunk.lock().take()
        {
            bytes.extend_from_slice(&body[..kept]);
            self.uploads.lock().insert(id, bytes);
            return error(StatusCode::BAD_GATEWAY, "LOST");
        }
        bytes.extend_from_slice(&body);
        self.uploads.lock().insert(id, bytes.clone());
        if method == Method::GET {
            return placed(StatusCode::NO_CONTENT, path, bytes.len());
        }
        if method == Method::PATCH {
            return placed(StatusCode::ACCEPTED, path, bytes.len());
        }
        let digest: Digest = digest.unwrap().parse().unwrap();
        if digest.check(&bytes).is_err() {
            return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        self.blobs.lock().insert(digest, bytes.into());
        response(StatusCode::CREATED, "")
    }
}

fn placed(status: StatusCode, location: &str, have: usize) -> Response {
    let mut answer = response(status, "");
    answer.headers_mut().insert(header::LOCATION, location.parse().unwrap());
    answer.headers_mut().insert(header::RANGE, format!("0-{}", have.saturating_sub(1)).parse().unwrap());
    answer
}

/// Sends some bytes, then breaks the connection.
fn broken(bytes: Bytes) -> Response {
    let pieces = futures::stream::iter([Ok(bytes)]);
    let end = futures::stream::once(async {
        // The bytes before the break have to be on their way first.
        tokio::task::yield_now().await;
        Err(io::Error::other("broken on purpose"))
    });
    response(StatusCode::OK, Body::from_stream(pieces.chain(end)))
}

fn basic(username: &str, password: &str) -> String {
    let mut text = format!("{username}:{password}").into_bytes();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = (3 - text.len() % 3) % 3;
    text.resize(text.len() + padding, 0);
    let mut out: Vec<u8> = text
        .chunks(3)
        .flat_map(|c| {
            let n = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
            [18, 12, 6, 0].map(|shift| alphabet[(n >> shift) as usize & 63])
        })
        .collect();
    let length = out.len();
    out[length - padding..].fill(b'=');
    format!("Basic {}", String::from_utf8(out).unwrap())
}
