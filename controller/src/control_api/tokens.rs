//! Join tokens.

use crate::{authority::join_token, clock, core::Core, propose::request_id};
use tonic::Status;
use wharf_cluster::{command::Command, model::JoinRole, state::State};
use wharf_identity::TokenSecret;
use wharf_proto::{
    convert::join_role,
    v1::{RotateTokenRequest, ShowTokenRequest, TokenResponse},
};

pub(super) async fn show(core: &Core, request: &ShowTokenRequest) -> Result<TokenResponse, Status> {
    let role = join_role(&request.role)?;
    response(&core.read().await?.state, role)
}

pub(super) async fn rotate(core: &Core, request: &RotateTokenRequest) -> Result<TokenResponse, Status> {
    let role = join_role(&request.role)?;
    let secret = TokenSecret::generate()
        .map_err(|error| Status::internal(format!("no secret can be made: {error}")))?
        .reveal();
    let expires = (request.ttl > 0).then(|| clock::now().plus(request.ttl));
    let command = Command::RotateToken { role, secret, expires };
    core.proposer.propose(Some(request_id(&request.request_id)?), command).await?;
    tracing::info!(%role, "rotated a join token");
    // What the first attempt set, if this is a retry.
    response(&core.published.state(), role)
}

fn response(state: &State, role: JoinRole) -> Result<TokenResponse, Status> {
    let (token, kept) = join_token(state, role)?;
    Ok(TokenResponse { token: token.to_string(), expires: kept.expires.map(|at| at.0) })
}
