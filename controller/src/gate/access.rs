//! Who may call what, and where it is answered.

use wharf_identity::Role;

/// Which controller answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that is asked.
    Here,
    /// The leader; another one passes the call on.
    Leader,
}

/// What holds for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Roles that may call it; empty if it takes no certificate.
    pub roles: &'static [Role],
    /// Which controller answers.
    pub place: Place,
}

/// The rule for a method's path, `/package.Service/Method`. What isn't listed is for nobody but admins, at the leader.
#[must_use]
pub fn rule(path: &str) -> Rule {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    match (service, method) {
        ("wharf.v1.IdentityApi", "Join") => Rule { roles: &[], place: Place::Leader },
        ("wharf.v1.IdentityApi", _) => Rule { roles: &Role::ALL, place: Place::Here },
        ("wharf.v1.AgentApi", _) => Rule { roles: &[Role::Agent], place: Place::Here },
        ("wharf.v1.RaftApi", _) => Rule { roles: &[Role::Controller], place: Place::Here },
        // Reads. What a controller itself has to ask of the leader for them, it asks.
        ("wharf.v1.ControlApi", "Get" | "Watch" | "PlanStack" | "ShowToken" | "Backup") => {
            Rule { roles: &[Role::Admin], place: Place::Here }
        }
        // A stream, for a controller that has no others.
        ("wharf.v1.ControlApi", "Restore") => Rule { roles: &[Role::Admin], place: Place::Here },
        _ => Rule { roles: &[Role::Admin], place: Place::Leader },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_go_to_the_leader_and_only_joining_is_open() {
        assert_eq!(rule("/wharf.v1.ControlApi/ApplyStack").place, Place::Leader);
        assert_eq!(rule("/wharf.v1.ControlApi/Get").place, Place::Here);
        assert_eq!(rule("/wharf.v1.AgentApi/Session").roles, [Role::Agent]);
        assert!(rule("/wharf.v1.IdentityApi/Join").roles.is_empty());
        for path in ["", "/", "/wharf.v1.Other/Thing", "/wharf.v1.ControlApi/", "nonsense"] {
            assert_eq!(rule(path).roles, [Role::Admin], "{path}");
        }
    }
}
