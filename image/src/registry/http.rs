//! Requests to registries: addresses, retries, bounded bodies.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use reqwest::header::HeaderName;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use tokio::sync::OnceCell;

use crate::reference::ImageName;
use crate::registry::auth::{Access, Credentials, Tokens};
use crate::registry::error::{Failure, NO_TLS, Problem, RegistryError, detail};
use crate::registry::{RegistryOptions, tls};

/// The most bytes read of an error's body.
const MAX_ERROR_BODY: u64 = 16 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a registry on this machine may take to say whether it speaks TLS.
const LOOPBACK_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Http {
    options: RegistryOptions,
    tokens: Tokens,
    client: OnceCell<Client>,
    /// Registries on this machine, and whether they speak TLS.
    loopback: Mutex<HashMap<String, bool>>,
}

/// A request that can be sent more than once.
pub(super) struct RequestSpec {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
    pub access: Access,
}

impl RequestSpec {
    pub(super) fn new(method: Method, url: String) -> Self {
        RequestSpec { method, url, headers: Vec::new(), body: Bytes::new(), access: Access::Pull }
    }
}

impl Http {
    pub(super) fn new(options: RegistryOptions, tokens: Tokens) -> Self {
        Http { options, tokens, client: OnceCell::new(), loopback: Mutex::default() }
    }

    /// `https://HOST/v2/REPOSITORY/REST`.
    pub(super) async fn url(&self, name: &ImageName, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base(name.registry()).await, name.repository())
    }

    /// Scheme and host of a registry.
    async fn base(&self, registry: &str) -> String {
        // Docker Hub's registry is not at the name that stands in image names.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let plain = self.options.plain_http.contains(registry)
            || (is_loopback(registry) && !self.loopback_has_tls(registry).await);
        format!("{}://{host}", if plain { "http" } else { "https" })
    }

    /// On this machine itself both are fine, so a registry there is asked what it speaks.
    async fn loopback_has_tls(&self, registry: &str) -> bool {
        if let Some(known) = self.loopback.lock().get(registry) {
            return *known;
        }
        let Ok(client) = self.client().await else { return true };
        let asked = client.get(format!("https://{registry}/v2/")).timeout(LOOPBACK_WAIT).send().await;
        let has_tls = match asked.map_err(Failure::from) {
            Ok(_) => true,
            Err(Failure::Final(Problem::Tls(cause))) => !cause.contains(NO_TLS),
            Err(Failure::Retry(cause)) if cause.contains("handshake eof") => false,
            // Nobody is there (yet), or says nothing: nothing is learnt from that.
            Err(_) => return false,
        };
        self.loopback.lock().insert(registry.to_owned(), has_tls);
        has_tls
    }

    pub(super) async fn client(&self) -> Result<&Client, Failure> {
        let options = self.options.clone();
        self.client
            .get_or_try_init(async || {
                // Reading the system's certificates takes a while.
                let built = tokio::task::spawn_blocking(move || build_client(&options)).await;
                built.unwrap_or_else(|_| Err("the set-up stopped".into()))
            })
            .await
            .map_err(|e| Failure::Final(Problem::Setup(e)))
    }

    /// Sends a request, again if need be.
    pub(super) async fn send(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
        spec: &RequestSpec,
    ) -> Result<Response, RegistryError> {
        self.retrying(name, || self.send_once(name, credentials, spec).boxed()).await
    }

    /// Does `attempt` until it succeeds, fails for good, or was tried often enough.
    pub(super) async fn retrying<'a, T>(
        &self,
        name: &ImageName,
        mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, Failure>>,
    ) -> Result<T, RegistryError> {
        let mut failed = 0;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    failed += 1;
                    if let Some(error) = self.pause_or_give_up(name, failed, failure).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Waits before the next attempt, or says why there is none.
    pub(super) async fn pause_or_give_up(
        &self,
        name: &ImageName,
        failed: u32,
        failure: Failure,
    ) -> Option<RegistryError> {
        if matches!(failure, Failure::Final(_)) || failed >= self.options.attempts.max(1) {
            return Some(failure.into_error(name, failed));
        }
        tracing::debug!(registry = name.registry(), failed, ?failure, "trying again");
        let pause = FIRST_PAUSE.saturating_mul(1 << (failed - 1).min(16)).min(LONGEST_PAUSE);
        // Up to half of it at random, so that a crowd of nodes does not come back at the same moment.
        tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        None
    }

    /// Sends a request once, or twice if the registry wants a token first.
    pub(super) async fn send_once(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
        spec: &RequestSpec,
    ) -> Result<Response, Failure> {
        let client = self.client().await?;
        let request = || {
            let mut request = client.request(spec.method.clone(), &spec.url);
            for (key, value) in &spec.headers {
                request = request.header(key, value);
            }
            if spec.body.is_empty() && spec.method != Method::POST {
                request
            } else {
                request.header(reqwest::header::CONTENT_LENGTH, spec.body.len()).body(spec.body.clone())
            }
        };
        self.send_with(name, credentials, spec.access, request).await
    }

    /// Sends what `request` builds with the right authorization, and judges the answer.
    pub(super) async fn send_with(
        &self,
        name: &ImageName,
        credentials: Option<&Credentials>,
        access: Access,
        mut request: impl FnMut() -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let client = self.client().await?;
        let known = self.tokens.get(name, access, credentials);
        let response = match &known {
            Some(authorization) => authorization.apply(request()).send().await?,
            None => request().send().await?,
        };
        let response = if response.status() == StatusCode::UNAUTHORIZED {
            let answer = self.tokens.answer(client, name, access, credentials, response.headers()).await?;
            match answer {
                Some(authorization) if known.as_ref() != Some(&authorization) => {
                    authorization.apply(request()).send().await?
                }
                _ => response,
            }
        } else {
            response
        };
        judge(response, credentials.is_some()).await
    }

    /// Whether a URL is the registry's own: credentials go nowhere else.
    pub(super) async fn is_own(&self, name: &ImageName, url: &reqwest::Url) -> bool {
        let base = reqwest::Url::parse(&self.base(name.registry()).await);
        base.is_ok_and(|base| base.origin() == url.origin())
    }
}

/// Takes a good answer through; sorts a bad one into what may pass and what stays.
pub(super) async fn judge(response: Response, with_credentials: bool) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = body_within(response, MAX_ERROR_BODY).await.unwrap_or_default();
    let detail = detail(&body);
    let passing = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    if passing || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        return Err(Failure::Retry(format!("it answers {}{detail}", status.as_u16())));
    }
    Err(Failure::Final(Problem::Status { status, detail, with_credentials }))
}

/// A whole body of at most `limit` bytes.
pub(super) async fn body_within(mut response: Response, limit: u64) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(Failure::Final(Problem::Protocol(format!("it sent more than {limit} bytes"))));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn build_client(options: &RegistryOptions) -> Result<Client, String> {
    let no_downgrade = redirect::Policy::custom(|attempt| {
        let from_tls = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > 10 {
            attempt.error("too many redirects")
        } else if from_tls && attempt.url().scheme() != "https" {
            attempt.error("it redirects from HTTPS to plain HTTP")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .tls_backend_preconfigured(tls::client_config(&options.extra_roots, options.identity.as_ref())?)
        .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .pool_idle_timeout(Duration::from_secs(15))
        .redirect(no_downgrade)
        .build()
        .map_err(|e| e.to_string())
}

/// Whether `HOST` or `HOST:PORT` is this machine itself.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, _)) => host,
        None => registry.rsplit_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself() {
        for yes in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["docker.io", "localhost.example.com:5000", "10.0.0.1", "[fe80::1]:5000"] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[tokio::test]
    async fn speaks_plain_only_where_told_to() {
        let plain_http = ["r.lan:5000".to_owned()].into();
        let http = Http::new(RegistryOptions { plain_http, ..RegistryOptions::default() }, Tokens::default());
        let url = async |name: &str| http.url(&name.parse().unwrap(), "x").await;
        assert_eq!(url("r.lan:5000/a").await, "http://r.lan:5000/v2/a/x");
        assert_eq!(url("r.lan/a").await, "https://r.lan/v2/a/x");
        assert_eq!(url("nginx").await, "https://registry-1.docker.io/v2/library/nginx/x");
    }
}
