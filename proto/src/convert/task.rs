//! What agents say of their tasks.

use super::Invalid;
use crate::v1;
use wharf_cluster::{
    command::TaskReport,
    ids::{NodeId, TaskId, Timestamp},
    model::{Exit, TaskState},
};

/// Longest message of a report; the rest is cut.
const MESSAGE: usize = 2048;

impl v1::TaskReport {
    /// The report as the state machine takes it, said by `node`.
    ///
    /// # Errors
    /// When a field can't be taken.
    pub fn checked(self, node: NodeId) -> Result<TaskReport, Invalid> {
        let task: TaskId = self.task.parse().map_err(|error| Invalid::new("task", format!("{error}")))?;
        let state: TaskState = self.state.parse().map_err(|error: String| Invalid::new("state", error))?;
        let mut message = self.message;
        if message.len() > MESSAGE {
            let end = (0..=MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push('…');
        }
        let port =
            |value: u32| u16::try_from(value).map_err(|_| Invalid::new("ports", "is not a port number"));
        let ports = self
            .ports
            .iter()
            .map(|mapped| Ok((port(mapped.published)?, port(mapped.target)?)))
            .collect::<Result<_, Invalid>>()?;
        Ok(TaskReport {
            task,
            node,
            state,
            at: Timestamp(self.at),
            message: message.into(),
            exit: self.exit_code.map(|code| Exit { code, oom_killed: self.oom_killed }),
            pid: self.pid,
            ports,
        })
    }
}

impl From<&TaskReport> for v1::TaskReport {
    fn from(report: &TaskReport) -> Self {
        v1::TaskReport {
            task: report.task.to_string(),
            state: report.state.name().to_owned(),
            at: report.at.0,
            message: report.message.to_string(),
            exit_code: report.exit.map(|exit| exit.code),
            oom_killed: report.exit.is_some_and(|exit| exit.oom_killed),
            pid: report.pid,
            ports: report
                .ports
                .iter()
                .map(|(published, target)| v1::PublishedPort {
                    published: u32::from(*published),
                    target: u32::from(*target),
                })
                .collect(),
        }
    }
}
