//! Authorization: answering a registry's challenge with basic credentials or a token fetched for them.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use http_auth::ChallengeRef;
use parking_lot::Mutex;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;

use crate::digest::Digest;
use crate::reference::ImageName;
use crate::registry::error::{Failure, Problem};
use crate::registry::http::{body_within, judge};

const MAX_TOKEN_BODY: u64 = 256 * 1024;
/// What a token lasts when its server doesn't say, by the token specification.
const DEFAULT_LIFE: u64 = 60;
/// The most tokens kept.
const MAX_TOKENS: usize = 256;

/// A user's name and password (or access token) at a registry.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Tells credentials apart without keeping them.
    pub(crate) fn fingerprint(&self) -> Digest {
        Digest::of(format!("{}\0{}", self.username, self.password).as_bytes())
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
}

/// What goes into the `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Authorization {
    Basic(Credentials),
    Bearer(String),
}

impl Authorization {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Authorization::Basic(c) => request.basic_auth(&c.username, Some(&c.password)),
            Authorization::Bearer(token) => request.bearer_auth(token),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    registry: String,
    repository: String,
    access: Access,
    credentials: Option<Digest>,
}

/// Tokens that are still good, by what they are good for.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Key, (Authorization, Instant)>>);

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// What worked before.
    pub(super) fn get(
        &self,
        name: &ImageName,
        access: Access,
        credentials: Option<&Credentials>,
    ) -> Option<Authorization> {
        let tokens = self.0.lock();
        let (authorization, good_until) = tokens.get(&key(name, access, credentials))?;
        (Instant::now() < *good_until).then(|| authorization.clone())
    }

    /// Answers the challenge in a 401's headers; none if there is nothing to answer it with.
    pub(super) async fn answer(
        &self,
        client: &Client,
        name: &ImageName,
        access: Access,
        credentials: Option<&Credentials>,
        headers: &HeaderMap,
    ) -> Result<Option<Authorization>, Failure> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|h| h.to_str().ok());
        let challenges: Vec<ChallengeRef<'_>> =
            texts.filter_map(|h| http_auth::parse_challenges(h).ok()).flatten().collect();
        let of = |scheme: &str| challenges.iter().find(|c| c.scheme.eq_ignore_ascii_case(scheme));
        let (authorization, life) = if let Some(bearer) = of("Bearer") {
            fetch_token(client, name, access, credentials, bearer).await?
        } else if let (Some(_), Some(credentials)) = (of("Basic"), credentials) {
            (Authorization::Basic(credentials.clone()), Duration::from_secs(300))
        } else {
            return Ok(None);
        };
        let mut tokens = self.0.lock();
        let now = Instant::now();
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, (_, good_until)| now < *good_until);
        }
        if tokens.len() < MAX_TOKENS {
            tokens.insert(key(name, access, credentials), (authorization.clone(), now + life));
        }
        Ok(Some(authorization))
    }
}

async fn fetch_token(
    client: &Client,
    name: &ImageName,
    access: Access,
    credentials: Option<&Credentials>,
    challenge: &ChallengeRef<'_>,
) -> Result<(Authorization, Duration), Failure> {
    let protocol = |what: &str| Failure::Final(Problem::Protocol(what.to_owned()));
    let parameter = |wanted: &str| {
        challenge.params.iter().find(|(k, _)| k.eq_ignore_ascii_case(wanted)).map(|(_, v)| v.to_unescaped())
    };
    let realm = parameter("realm").ok_or_else(|| protocol("its token challenge has no realm"))?;
    let mut url = reqwest::Url::parse(&realm).map_err(|_| protocol("its token challenge has a bad realm"))?;
    let loopback = url.host_str().is_some_and(|h| matches!(h, "localhost" | "127.0.0.1" | "[::1]"));
    if credentials.is_some() && url.scheme() != "https" && !loopback {
        return Err(protocol("it wants credentials sent over plain HTTP"));
    }
    let actions = match access {
        Access::Pull => "pull",
        Access::Push => "pull,push",
    };
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = parameter("service") {
            query.append_pair("service", &service);
        }
        query.append_pair("scope", &format!("repository:{}:{actions}", name.repository()));
    }
    let mut request = client.get(url);
    if let Some(c) = credentials {
        request = request.basic_auth(&c.username, Some(&c.password));
    }
    let response = judge(request.send().await?, credentials.is_some()).await.map_err(|e| match e {
        // Whatever a token server says against us, it means that access is refused.
        Failure::Final(Problem::Status { detail, with_credentials, .. }) => {
            Failure::Final(Problem::Status { status: StatusCode::UNAUTHORIZED, detail, with_credentials })
        }
        other => other,
    })?;
    let body = body_within(response, MAX_TOKEN_BODY).await?;
    let answer: TokenAnswer =
        serde_json::from_slice(&body).map_err(|_| protocol("its token server sent no token"))?;
    let token = answer
        .token
        .or(answer.access_token)
        .filter(|t| !t.is_empty())
        .ok_or_else(|| protocol("its token server sent no token"))?;
    // Some seconds less, so that it does not run out on the way.
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(10, 3600) - 5;
    Ok((Authorization::Bearer(token), Duration::from_secs(life)))
}

fn key(name: &ImageName, access: Access, credentials: Option<&Credentials>) -> Key {
    Key {
        registry: name.registry().to_owned(),
        repository: name.repository().to_owned(),
        access,
        credentials: credentials.map(Credentials::fingerprint),
    }
}
