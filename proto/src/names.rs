//! Words for the values that messages carry as text, both ways.

use crate::convert::Invalid;
use wharf_cluster::model::{
    Availability, CgroupMode, DesiredState, EndpointMode, FailureAction, JoinRole, NetworkMode, Order,
    Protocol, RestartCondition, Strategy,
};

/// A value that has a word.
pub(crate) trait Word: Sized + Clone + PartialEq + 'static {
    /// The word of an empty text; `None` if there must be one.
    const DEFAULT: Option<Self>;
    /// Every value and its word.
    const WORDS: &'static [(Self, &'static str)];

    fn word(&self) -> &'static str {
        Self::WORDS.iter().find(|(value, _)| value == self).map_or("", |(_, word)| word)
    }

    fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        if text.is_empty()
            && let Some(default) = Self::DEFAULT
        {
            return Ok(default);
        }
        match Self::WORDS.iter().find(|(_, word)| *word == text) {
            Some((value, _)) => Ok(value.clone()),
            None => {
                let known: Vec<&str> = Self::WORDS.iter().map(|(_, word)| *word).collect();
                Err(Invalid::new(field, format!("\"{text}\" is none of {}", known.join(", "))))
            }
        }
    }
}

macro_rules! words {
    ($type:ty, $default:expr, $($value:expr => $word:literal),+ $(,)?) => {
        impl Word for $type {
            const DEFAULT: Option<Self> = $default;
            const WORDS: &'static [(Self, &'static str)] = &[$(($value, $word)),+];
        }
    };
}

words!(Protocol, Some(Protocol::Tcp), Protocol::Tcp => "tcp", Protocol::Udp => "udp");
words!(
    NetworkMode, Some(NetworkMode::Bridge),
    NetworkMode::Bridge => "bridge", NetworkMode::Host => "host", NetworkMode::None => "none",
);
words!(
    EndpointMode, Some(EndpointMode::Vip),
    EndpointMode::Vip => "vip", EndpointMode::Dnsrr => "dnsrr",
);
words!(
    RestartCondition, Some(RestartCondition::Any),
    RestartCondition::None => "none", RestartCondition::OnFailure => "on-failure", RestartCondition::Any => "any",
);
words!(
    Strategy, Some(Strategy::Spread),
    Strategy::Spread => "spread", Strategy::Binpack => "binpack",
);
words!(
    FailureAction, Some(FailureAction::Pause),
    FailureAction::Pause => "pause", FailureAction::Continue => "continue", FailureAction::Rollback => "rollback",
);
words!(
    Order, Some(Order::StopFirst),
    Order::StopFirst => "stop-first", Order::StartFirst => "start-first",
);
words!(
    CgroupMode, Some(CgroupMode::None),
    CgroupMode::None => "none", CgroupMode::V1 => "v1", CgroupMode::V2 => "v2", CgroupMode::Hybrid => "hybrid",
);
words!(
    Availability, None,
    Availability::Active => "active", Availability::Cordoned => "cordoned", Availability::Drained => "drained",
);
words!(
    DesiredState, None,
    DesiredState::Ready => "ready", DesiredState::Running => "running",
    DesiredState::Shutdown => "shutdown", DesiredState::Remove => "remove",
);
words!(
    JoinRole, None,
    JoinRole::Agent => "agent", JoinRole::Controller => "controller", JoinRole::Registry => "registry",
);
