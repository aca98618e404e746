//! Feature levels: what every controller of a cluster must know, so that old and new versions can work side by side.
//!
//! A command or a part of the state that an older version doesn't know belongs to a higher level. The cluster has a
//! level, which is part of the state. It is raised when every member has said that it knows more, and never falls;
//! nothing of a higher level is proposed before. What a command of a lower level does must not change: replicas of
//! different versions apply it.

use crate::command::Command;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A feature level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u8);

impl Level {
    /// What every version knows.
    pub const FIRST: Level = Level(1);
    /// Demotion of controllers, and levels themselves.
    pub const SECOND: Level = Level(2);
    /// The most that this version knows.
    pub const NEWEST: Level = Level::SECOND;

    /// Whether this is the first one, which older versions don't write down.
    #[must_use]
    pub fn is_first(&self) -> bool {
        *self == Level::FIRST
    }
}

/// What nobody has written down is the first one.
impl Default for Level {
    fn default() -> Self {
        Level::FIRST
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Command {
    /// What a controller must know to read this command. A new command is of the newest level.
    ///
    /// A new field of an old command is of a higher level too, wherever it isn't left at its default; the default must
    /// not be written (`skip_serializing_if`) and has to mean what the command did without that field. The fields
    /// stand here so that the compiler asks about each new one.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Command::InitCluster { id: _, ca_cert: _, ca_key: _, tokens: _ }
            | Command::RotateToken { role: _, secret: _, expires: _ }
            // Older versions ignore the joiner's level, and let in what the first level allows: everybody.
            | Command::AddController { name: _, address: _, level: _ }
            | Command::SetControllerAddress { controller: _, name: _, address: _ }
            | Command::RemoveController { controller: _ }
            | Command::ApplyStack { spec: _, expected_version: _ }
            | Command::RemoveStack { stack: _ }
            | Command::RemoveService { service: _ }
            | Command::ScaleServices { replicas: _ }
            | Command::RestartService { service: _ }
            | Command::UndoRollout { service: _, to: _ }
            | Command::RegisterNode { description: _ }
            | Command::RemoveNode { node: _, force: _ }
            | Command::SetAvailability { node: _, availability: _ }
            | Command::SetNodeLabels { node: _, set: _, remove: _ }
            | Command::DescribeNode { node: _, description: _ }
            | Command::SetNodeStates { nodes: _ }
            | Command::ReportTasks { reports: _ }
            | Command::CreateTasks { tasks: _ }
            | Command::PlaceTasks { placements: _ }
            | Command::ExplainUnplaced { reasons: _ }
            | Command::SetDesired { tasks: _ }
            | Command::RemoveTasks { tasks: _ }
            | Command::OrphanTasks { tasks: _ }
            | Command::SetRollout { service: _, to: _, state: _, message: _ }
            | Command::ForgetService { service: _ } => Level::FIRST,
            Command::SetControllerVotes { controller: _, votes: _ } => Level::SECOND,
            Command::RaiseLevel { to } => *to,
        }
    }

    /// Whether a cluster of level `cluster` may be asked this. Raising the level is what a lower one is asked.
    #[must_use]
    pub fn is_open_to(&self, cluster: Level) -> bool {
        self.level() <= cluster || matches!(self, Command::RaiseLevel { .. })
    }
}
