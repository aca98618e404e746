//! `wharf token`.

use crate::{
    cli::{Token, TokenRole},
    client::{Client, request_id},
    failure::Result,
    output::time::absolute,
};
use std::time::Duration;
use wharf_proto::v1::{RotateTokenRequest, ShowTokenRequest, TokenResponse};

fn word(role: TokenRole) -> String {
    match role {
        TokenRole::Agent => "agent",
        TokenRole::Controller => "controller",
        TokenRole::Registry => "registry",
    }
    .to_owned()
}

/// Shows or replaces a token.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn token(client: &Client, what: Token) -> Result<()> {
    let answer: TokenResponse = match what {
        Token::Show { role } => {
            let request = ShowTokenRequest { role: word(role) };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.show_token(request).await }
                })
                .await?
        }
        Token::Rotate { role, ttl } => {
            let request = RotateTokenRequest {
                request_id: request_id(),
                role: word(role),
                ttl: u64::try_from(ttl.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX),
            };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.rotate_token(request).await }
                })
                .await?
        }
    };
    println!("{}", answer.token);
    if let Some(expires) = answer.expires {
        eprintln!("taken until {}", absolute(expires));
    }
    Ok(())
}
