//! Plays what would happen on a copy of the state, with agents that do at once what they are told.

use crate::{
    command::{Command, Envelope, TaskReport},
    ids::{ServiceId, Timestamp},
    model::{DesiredState, Mode, NodeState, StackSpec, Task, TaskState},
    orchestrator::{Limits, Scope, reconcile},
    scheduler::schedule,
    state::{Rejected, State},
};
use std::collections::BTreeSet;

/// In how many batches a rollout is played at most; a longer one is played with larger batches.
const BATCHES: u32 = 64;
/// How often the loops run at most. Each batch takes a few.
const ROUNDS: usize = 1_000;

/// The state after `spec` was applied and everything that follows has happened.
///
/// # Errors
/// When applying it is refused.
pub(super) fn rehearse(state: &State, spec: &StackSpec) -> Result<State, Rejected> {
    let mut copy = state.clone();
    let apply = Command::ApplyStack { spec: in_few_batches(spec), expected_version: None };
    let mut now = copy.now();
    run(&mut copy, now, apply)?;
    let services: BTreeSet<ServiceId> = copy.services_of(&spec.name).map(|service| service.id).collect();
    let removing = copy.services().filter(|service| service.removing && *service.name.stack == spec.name);
    let touched: BTreeSet<ServiceId> =
        services.iter().copied().chain(removing.map(|service| service.id)).collect();
    let scope = Scope::Services(touched.clone());
    let limits = Limits { moves: usize::MAX, creations: usize::MAX, ..Limits::default() };
    for _ in 0..ROUNDS {
        let plan = reconcile(&copy, &scope, now, &limits);
        let wake_at = plan.wake_at();
        let mut idle = plan.commands.is_empty();
        for command in plan.commands {
            run(&mut copy, now, command)?;
        }
        let decisions = schedule(&copy);
        for command in decisions.commands() {
            idle = false;
            run(&mut copy, now, command)?;
        }
        let reports = reports(&copy, &touched, now);
        if !reports.is_empty() {
            idle = false;
            run(&mut copy, now, Command::ReportTasks { reports })?;
        }
        if idle {
            let rolling = services.iter().any(|id| {
                let rollout = copy.service(*id).and_then(|service| service.rollout.as_ref());
                rollout.is_some_and(|rollout| rollout.state.is_active())
            });
            match wake_at.filter(|at| rolling && *at > now) {
                Some(at) => now = at,
                None => break,
            }
        }
    }
    Ok(copy)
}

fn run(state: &mut State, at: Timestamp, command: Command) -> Result<(), Rejected> {
    state.execute(&Envelope { at, request: None, command }).0.map(|_| ())
}

/// `spec` with rollouts that need no more than so many batches.
fn in_few_batches(spec: &StackSpec) -> StackSpec {
    let mut spec = spec.clone();
    for service in spec.services.values_mut() {
        if let Mode::Replicated { replicas } = service.mode
            && service.update.parallelism > 0
        {
            service.update.parallelism = service.update.parallelism.max(replicas.div_ceil(BATCHES));
        }
    }
    spec
}

/// What willing agents say of the services' tasks.
fn reports(state: &State, services: &BTreeSet<ServiceId>, at: Timestamp) -> Vec<TaskReport> {
    let tasks = services.iter().flat_map(|service| state.tasks_of(*service));
    tasks
        .filter_map(|task| {
            let node = state.node(task.node?)?;
            let reached = reached(task).filter(|_| node.status.state == NodeState::Ready)?;
            Some(TaskReport {
                task: task.id,
                node: node.id,
                state: reached,
                at,
                message: "".into(),
                exit: None,
                pid: None,
                ports: Vec::new(),
            })
        })
        .collect()
}

fn reached(task: &Task) -> Option<TaskState> {
    let state = match task.desired {
        DesiredState::Ready => TaskState::Ready,
        DesiredState::Running => TaskState::Running,
        DesiredState::Shutdown | DesiredState::Remove => TaskState::Shutdown,
    };
    task.status.state.may_become(state).then_some(state)
}
