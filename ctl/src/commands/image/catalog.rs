//! What a registry's own client needs that no node does: listing what there is, and deleting.

use crate::{
    client::Client,
    contexts::describe,
    failure::{Failure, Result},
};
use reqwest::{Certificate, Identity, Method, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;
use wharf_image::Credentials;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Names asked for at once.
const PAGE: usize = 500;

/// One registry.
pub struct Catalog {
    http: reqwest::Client,
    base: String,
    registry: String,
    credentials: Option<Credentials>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Catalog {
    /// The registry at `host:port`.
    ///
    /// # Errors
    /// When the cluster's certificates can't be used.
    pub fn new(
        client: Option<&Client>,
        registry: &str,
        plain_http: bool,
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let unusable = |error: reqwest::Error| Failure::failed(describe(&error));
        // reqwest takes the process's own provider; that one has been set already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().timeout(PATIENCE);
        if let Some(client) = client {
            let ca = Certificate::from_pem(client.credentials.ca_pem().as_bytes()).map_err(unusable)?;
            builder = builder.tls_certs_merge([ca]);
            // The cluster's own registry may ask who wants to delete; no other one is told.
            if client.registry.as_deref() == Some(registry) {
                let pem = format!("{}\n{}", client.credentials.cert_pem(), client.credentials.key_pem());
                builder = builder.identity(Identity::from_pem(pem.as_bytes()).map_err(unusable)?);
            }
        }
        Ok(Catalog {
            http: builder.build().map_err(unusable)?,
            base: format!("{}://{registry}/v2", if plain_http { "http" } else { "https" }),
            registry: registry.to_owned(),
            credentials,
        })
    }

    /// All repositories.
    ///
    /// # Errors
    /// When the registry doesn't answer, or doesn't tell.
    pub async fn repositories(&self) -> Result<Vec<String>> {
        self.paged("_catalog", |page: Repositories| page.repositories).await
    }

    /// All tags of a repository. One that has gone meanwhile has none.
    ///
    /// # Errors
    /// When the registry doesn't answer.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>> {
        match self.paged(&format!("{repository}/tags/list"), |page: Tags| page.tags).await {
            Err(failure) if failure.code == crate::failure::NOT_FOUND => Ok(Vec::new()),
            other => other,
        }
    }

    /// Deletes a manifest by tag or digest.
    ///
    /// # Errors
    /// When it isn't there, or the registry refuses.
    pub async fn delete(&self, repository: &str, reference: &str) -> Result<()> {
        self.send(Method::DELETE, &format!("{repository}/manifests/{reference}")).await.map(drop)
    }

    async fn paged<T: DeserializeOwned>(
        &self,
        path: &str,
        names: impl Fn(T) -> Option<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let last = all.last().map_or_else(String::new, |last| format!("&last={last}"));
            let response = self.send(Method::GET, &format!("{path}?n={PAGE}{last}")).await?;
            let more = response.headers().contains_key("link");
            let page: T = response.json().await.map_err(|error| self.broken(&error))?;
            let page = names(page).unwrap_or_default();
            let empty = page.is_empty();
            all.extend(page);
            if !more || empty {
                return Ok(all);
            }
        }
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response> {
        let mut request = self.http.request(method, format!("{}/{path}", self.base));
        if let Some(user) = &self.credentials {
            request = request.basic_auth(&user.username, Some(&user.password));
        }
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let registry = &self.registry;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(Failure::not_found(format!(
                "registry {registry} has no {}",
                path.split('?').next().unwrap_or(path)
            ))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::failed(format!(
                "registry {registry} refuses access: say who you are with --user-name"
            ))),
            status => Err(Failure::failed(format!("registry {registry} answered {status}"))),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::unreachable(format!(
            "registry {} can't be used: {cause}; does it run, and does it speak TLS (else --plain-http)?",
            self.registry
        ))
    }
}
