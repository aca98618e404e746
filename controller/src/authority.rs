//! The cluster's authority and its tokens, as they stand in the replicated state: any controller can sign.

use crate::{clock, settings::Timings};
use std::time::SystemTime;
use tonic::Status;
use wharf_cluster::{
    model::{JoinRole, Token},
    state::State,
};
use wharf_identity::{
    Authority, AuthorityError, Identity, JoinToken, KnownToken, Leaf, Role, SubjectName, TokenSecret,
};

/// The cluster's authority.
///
/// # Errors
/// When the cluster has not been made yet.
pub fn authority(state: &State) -> Result<Authority, Status> {
    let info = state
        .cluster()
        .ok_or_else(|| Status::unavailable("the cluster is only being made; try again in a moment"))?;
    Authority::from_pem(&info.ca_cert, &info.ca_key).map_err(|error| {
        tracing::error!(%error, "the cluster's authority can't be used");
        Status::internal(format!("the cluster's authority can't be used: {error}"))
    })
}

/// Signs a certificate for who has just joined.
///
/// # Errors
/// When the request or a name in it can't be taken.
pub fn sign(
    authority: &Authority,
    timings: &Timings,
    csr: &str,
    identity: &Identity,
    names: &[SubjectName],
) -> Result<String, Status> {
    authority
        .issue(csr, identity, names, SystemTime::now(), timings.certificate_lifetime)
        .map_err(|error| refused(&error))
}

/// Signs a certificate that says the same as the one a member holds.
///
/// # Errors
/// When the request can't be taken.
pub fn sign_again(
    authority: &Authority,
    timings: &Timings,
    csr: &str,
    held: &Leaf,
) -> Result<String, Status> {
    authority
        .reissue(csr, held, SystemTime::now(), timings.certificate_lifetime)
        .map_err(|error| refused(&error))
}

fn refused(error: &AuthorityError) -> Status {
    Status::invalid_argument(format!("no certificate can be signed for this request: {error}"))
}

/// A role of the state, as certificates name it.
#[must_use]
pub fn role(role: JoinRole) -> Role {
    match role {
        JoinRole::Agent => Role::Agent,
        JoinRole::Controller => Role::Controller,
        JoinRole::Registry => Role::Registry,
    }
}

/// The roles that can be joined.
pub const JOIN_ROLES: [JoinRole; 3] = [JoinRole::Agent, JoinRole::Controller, JoinRole::Registry];

/// Every token that the state knows, those that were replaced too, so that a holder of one is told so.
#[must_use]
pub fn known_tokens(state: &State) -> Vec<KnownToken> {
    let known = |role, secret: &str, expires| {
        // A secret that isn't one matches nothing.
        Some(KnownToken { role, secret: secret.parse().ok()?, expires })
    };
    JOIN_ROLES
        .into_iter()
        .filter_map(|of| Some((role(of), state.token(of)?)))
        .flat_map(|(role, token)| {
            let current = known(role, &token.secret, token.expires.map(clock::system_time));
            let replaced = token.replaced.as_deref();
            let before =
                replaced.and_then(|secret| known(role, secret, Some(clock::system_time(token.created))));
            current.into_iter().chain(before)
        })
        .collect()
}

/// A role's token in the form that people hand to a joiner.
///
/// # Errors
/// When there is none.
pub fn join_token(state: &State, of: JoinRole) -> Result<(JoinToken, &Token), Status> {
    let token = state.token(of).ok_or_else(|| Status::not_found(format!("there is no {of} token")))?;
    let secret: TokenSecret = token
        .secret
        .parse()
        .map_err(|_| Status::internal(format!("the {of} token is damaged; rotate it")))?;
    let ca_hash = authority(state)?.hash();
    Ok((JoinToken { role: role(of), ca_hash, secret }, token))
}
