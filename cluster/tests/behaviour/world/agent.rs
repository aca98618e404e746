//! A model of a node's agent: it knows what it was last told, does it step by step, and reports.

use std::collections::BTreeMap;
use wharf_cluster::{
    command::TaskReport,
    ids::{NodeId, TaskId, Timestamp},
    model::{DesiredState, TaskState},
    state::State,
};

/// What an agent was told of a task.
#[derive(Clone, Debug)]
pub struct Told {
    pub desired: DesiredState,
    pub image: String,
}

/// An agent and what it does.
#[derive(Clone, Debug)]
pub struct Agent {
    pub node: NodeId,
    /// Whether it hears of its assignment, and its reports get through.
    pub connected: bool,
    pub told: BTreeMap<TaskId, Told>,
    /// How far its tasks really are.
    pub tasks: BTreeMap<TaskId, TaskState>,
    pub outbox: Vec<TaskReport>,
}

impl Agent {
    pub fn new(node: NodeId) -> Self {
        Agent { node, connected: true, told: BTreeMap::new(), tasks: BTreeMap::new(), outbox: Vec::new() }
    }

    /// Hears of its assignment, if it is connected. What isn't in it is stopped and forgotten.
    pub fn hear(&mut self, state: &State) {
        if !self.connected {
            return;
        }
        let mut told = BTreeMap::new();
        for id in &state.load(self.node).tasks {
            let task = state.task(*id).expect("loads speak of tasks that are there");
            let image = state.template_of(task).expect("its template is kept").container.image.clone();
            told.insert(*id, Told { desired: task.desired, image });
        }
        self.tasks.retain(|id, _| told.contains_key(id));
        self.told = told;
    }

    /// Takes each task one step further. Whether anything changed.
    pub fn step(&mut self, now: Timestamp, failing: bool) -> bool {
        let mut changed = false;
        for (id, told) in self.told.clone() {
            let state = self.tasks.get(&id).copied().unwrap_or(TaskState::Assigned);
            if let Some(next) = next(state, &told, failing) {
                self.reach(id, next, now);
                changed = true;
            }
        }
        changed
    }

    /// A task's container ends by itself, if it runs.
    pub fn fail(&mut self, id: TaskId, now: Timestamp) {
        if self.tasks.get(&id).is_some_and(|state| !state.is_final()) {
            self.reach(id, TaskState::Failed, now);
        }
    }

    fn reach(&mut self, id: TaskId, state: TaskState, at: Timestamp) {
        self.tasks.insert(id, state);
        self.outbox.push(TaskReport {
            task: id,
            node: self.node,
            state,
            at,
            message: if state == TaskState::Failed { "exit code 1".into() } else { "".into() },
            exit: None,
            pid: None,
            ports: Vec::new(),
        });
    }
}

/// `bad…` images fail when they start if failing is in force, `job…` images complete.
fn next(state: TaskState, told: &Told, failing: bool) -> Option<TaskState> {
    if state.is_final() {
        return None;
    }
    if told.desired > DesiredState::Running {
        return Some(TaskState::Shutdown);
    }
    let may_run = told.desired == DesiredState::Running;
    match state {
        TaskState::Assigned => Some(TaskState::Accepted),
        TaskState::Accepted => Some(TaskState::Preparing),
        TaskState::Preparing => Some(TaskState::Ready),
        TaskState::Ready if may_run => Some(TaskState::Starting),
        TaskState::Starting if failing && told.image.starts_with("bad") => Some(TaskState::Failed),
        TaskState::Starting => Some(TaskState::Running),
        TaskState::Running if told.image.starts_with("job") => Some(TaskState::Complete),
        _ => None,
    }
}
