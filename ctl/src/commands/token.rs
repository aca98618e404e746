//! `wharf token`.

use crate::{
    cli::{Token, TokenRole},
    client::{Client, request_id},
    failure::Result,
    output::{say, time::absolute},
};
use std::time::Duration;
use wharf_proto::v1::{RotateTokenRequest, ShowTokenRequest, TokenResponse};

/// Shows or replaces a token. Nothing but the token goes to standard output.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn token(client: &Client, what: Token) -> Result<()> {
    let answer: TokenResponse = match what {
        Token::Show { role } => {
            let show = |mut api: crate::client::Api| async move {
                api.show_token(ShowTokenRequest { role: word(role).to_owned() }).await
            };
            client.call(show).await?
        }
        Token::Rotate { role, ttl } => {
            let request = RotateTokenRequest {
                request_id: request_id(),
                role: word(role).to_owned(),
                ttl: u64::try_from(ttl.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX),
            };
            client.write(request, |mut api, request| async move { api.rotate_token(request).await }).await?
        }
    };
    if let Some(expires) = answer.expires {
        eprintln!("taken until {}", absolute(expires));
    }
    say(&answer.token)
}

fn word(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Agent => "agent",
        TokenRole::Controller => "controller",
        TokenRole::Registry => "registry",
    }
}
