//! What one session has told its agent to hold, and the difference to what it should.

use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    ids::{NodeId, TaskId},
    model::{DesiredState, Slot, Task},
    state::State,
};
use wharf_proto::v1::{AssignedTask, AssignmentDifference, AssignmentFull, Generation};

/// What an agent has been told.
#[derive(Debug)]
pub(super) struct Assignment {
    node: NodeId,
    generation: Generation,
    told: BTreeMap<TaskId, DesiredState>,
}

impl Assignment {
    /// Nothing yet, in session `session` of term `term`.
    pub(super) fn new(node: NodeId, term: u64, session: u64) -> Self {
        Assignment { node, generation: Generation { term, session, sequence: 0 }, told: BTreeMap::new() }
    }

    /// Everything that the agent should hold: those of `tasks` that are on its node.
    pub(super) fn full(&mut self, state: &State, tasks: impl IntoIterator<Item = TaskId>) -> AssignmentFull {
        self.told.clear();
        let tasks = tasks.into_iter().filter_map(|id| self.assign(state, id)).collect();
        AssignmentFull { generation: Some(self.next()), tasks }
    }

    /// What `changed` means to the agent; `None` if it has been told all of it, or knows it better.
    pub(super) fn difference(
        &mut self,
        state: &State,
        changed: BTreeSet<TaskId>,
    ) -> Option<AssignmentDifference> {
        let mut tasks = Vec::new();
        let mut removed = Vec::new();
        for id in changed {
            let here = state.task(id).filter(|task| task.node == Some(self.node));
            match here {
                None => {
                    if self.told.remove(&id).is_some() {
                        removed.push(id.to_string());
                    }
                }
                Some(task) if self.told.get(&id) != Some(&desired(task)) => {
                    tasks.extend(self.assign(state, id));
                }
                Some(_) => {}
            }
        }
        if tasks.is_empty() && removed.is_empty() {
            return None;
        }
        Some(AssignmentDifference { generation: Some(self.next()), tasks, removed })
    }

    fn next(&mut self) -> Generation {
        self.generation.sequence += 1;
        self.generation
    }

    fn assign(&mut self, state: &State, id: TaskId) -> Option<AssignedTask> {
        let task = state.task(id).filter(|task| task.node == Some(self.node))?;
        let service = state.service(task.service)?;
        let template = state.template_of(task)?;
        let desired = desired(task);
        self.told.insert(id, desired);
        Some(AssignedTask {
            id: id.to_string(),
            name: state.task_name(task),
            stack: service.name.stack.to_string(),
            service: service.name.to_string(),
            service_id: service.id.to_string(),
            slot: match task.slot {
                Slot::Replica(number) => number,
                Slot::Node(_) => 0,
            },
            desired: desired.to_string(),
            template_version: task.template,
            container: Some((&template.container).into()),
            resources: Some((&template.resources).into()),
        })
    }
}

/// How far the agent should go. A task that has ended is kept for its logs, and never started again, not even by an
/// agent that has lost its memory; one that was given up is stopped when its node comes back.
fn desired(task: &Task) -> DesiredState {
    if task.is_final() { task.desired.max(DesiredState::Shutdown) } else { task.desired }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, report};
    use super::*;
    use wharf_cluster::model::TaskState;

    #[test]
    fn an_agent_is_told_once_of_what_it_should_hold() {
        let mut fixture = Fixture::new();
        let (node, task) = (fixture.node, fixture.place());
        let mut assignment = Assignment::new(node, 7, 3);
        let full = assignment.full(&fixture.state, [task, TaskId(999)]);
        assert_eq!(full.generation, Some(Generation { term: 7, session: 3, sequence: 1 }));
        assert_eq!(full.tasks.len(), 1);
        assert_eq!((full.tasks[0].name.as_str(), full.tasks[0].desired.as_str()), ("shop/web.1", "running"));
        assert_eq!(assignment.difference(&fixture.state, [task].into()), None);

        fixture.desire(task, DesiredState::Shutdown);
        let difference = assignment.difference(&fixture.state, [task].into()).unwrap();
        assert_eq!(difference.generation.unwrap().sequence, 2);
        assert_eq!(difference.tasks[0].desired, "shutdown");

        fixture.report(report(task, node, TaskState::Shutdown));
        fixture.remove(task);
        let difference = assignment.difference(&fixture.state, [task].into()).unwrap();
        assert_eq!(difference.removed, [task.to_string()]);
        assert_eq!(assignment.difference(&fixture.state, [task].into()), None);
    }

    #[test]
    fn what_has_ended_is_not_to_be_started_again() {
        let mut fixture = Fixture::new();
        let (node, task) = (fixture.node, fixture.place());
        fixture.report(report(task, node, TaskState::Failed));
        let full = Assignment::new(node, 1, 1).full(&fixture.state, [task]);
        assert_eq!(full.tasks[0].desired, "shutdown");
    }

    #[test]
    fn another_nodes_task_is_nothing_to_an_agent() {
        let mut fixture = Fixture::new();
        let task = fixture.place();
        let mut assignment = Assignment::new(NodeId(12345), 1, 1);
        assert!(assignment.full(&fixture.state, [task]).tasks.is_empty());
        assert_eq!(assignment.difference(&fixture.state, [task].into()), None);
    }
}
