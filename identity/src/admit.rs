//! The controllers' side of a join token: whether a secret lets its bearer in.

use std::time::SystemTime;

use tonic::Status;

use crate::certificate::moment;
use crate::role::Role;
use crate::token::TokenSecret;

/// A secret that the cluster gave out.
#[derive(Debug, Clone)]
pub struct KnownToken {
    /// The role that it lets in.
    pub role: Role,
    /// The secret.
    pub secret: TokenSecret,
    /// Until when it does; `None` until it is rotated. A rotated token that is kept with the time
    /// of its rotation makes for a better message than one that is forgotten.
    pub expires: Option<SystemTime>,
}

/// Checks the secret of a join request against every token that the cluster knows.
pub fn admit(secret: &str, role: Role, known: &[KnownToken], now: SystemTime) -> Result<(), TokenRefusal> {
    let secret: TokenSecret = secret.parse().map_err(|_| TokenRefusal::Malformed)?;
    // Every one is compared, so that the time taken tells nothing of which one matched.
    let matching = known.iter().filter(|token| token.secret.matches(&secret)).collect::<Vec<_>>();
    let Some(token) = matching.first() else {
        return Err(TokenRefusal::Unknown { role });
    };
    if token.role != role {
        return Err(TokenRefusal::WrongRole { role, token: token.role });
    }
    match token.expires {
        Some(since) if now >= since => Err(TokenRefusal::Expired { role, since: moment(since) }),
        _ => Ok(()),
    }
}

/// Why a join token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not the text of a secret.
    #[error("the join token's secret is malformed")]
    Malformed,
    /// Not a secret of this cluster, or one that is forgotten.
    #[error(
        "the join token is not valid, or was rotated since; `wharf token show --role {role}` prints the \
         current one"
    )]
    Unknown {
        /// The role asked for.
        role: Role,
    },
    /// A valid one, for something else.
    #[error(
        "the join token is for {}, not for {}; `wharf token show --role {role}` prints the right one",
        .token.with_article(), .role.with_article()
    )]
    WrongRole {
        /// The role asked for.
        role: Role,
        /// The token's role.
        token: Role,
    },
    /// One whose time is over.
    #[error(
        "the join token expired or was rotated at {since}; `wharf token show --role {role}` prints the current one"
    )]
    Expired {
        /// The role asked for.
        role: Role,
        /// When.
        since: String,
    },
}

impl From<TokenRefusal> for Status {
    fn from(refusal: TokenRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            TokenRefusal::Malformed => Self::invalid_argument(message),
            TokenRefusal::WrongRole { .. } => Self::permission_denied(message),
            TokenRefusal::Unknown { .. } | TokenRefusal::Expired { .. } => Self::unauthenticated(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_current_secret_of_the_role_is_admitted() {
        let now = SystemTime::now();
        let make = |role, expires| KnownToken { role, secret: TokenSecret::generate().unwrap(), expires };
        let known = [
            make(Role::Agent, None),
            make(Role::Controller, None),
            make(Role::Agent, Some(now)),
            make(Role::Agent, Some(now + Duration::from_secs(1))),
        ];
        let ask = |index: usize, role| admit(&known[index].secret.reveal(), role, &known, now);
        assert_eq!(ask(0, Role::Agent), Ok(()));
        assert_eq!(ask(1, Role::Controller), Ok(()));
        assert_eq!(ask(3, Role::Agent), Ok(()));
        assert!(matches!(ask(2, Role::Agent), Err(TokenRefusal::Expired { .. })));
        assert_eq!(
            ask(1, Role::Agent).unwrap_err().to_string(),
            "the join token is for a controller, not for an agent; `wharf token show --role agent` prints \
             the right one"
        );
        let other = TokenSecret::generate().unwrap().reveal();
        assert!(matches!(admit(&other, Role::Agent, &known, now), Err(TokenRefusal::Unknown { .. })));
        assert_eq!(admit(&other[1..], Role::Agent, &known, now), Err(TokenRefusal::Malformed));
    }
}
