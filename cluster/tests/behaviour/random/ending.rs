//! How every history must end once the disturbances have stopped.

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    feasibility::{Candidate, eligible, fits},
    ids::NodeId,
    model::{Availability, Mode, NodeState, RestartCondition, Service, Slot, Task, TaskState},
    orchestrator::{Scope, reconcile},
    scheduler::schedule,
    state::State,
};

/// Lets the disturbances stop, everything come to rest, and looks at what is there.
pub fn check(world: &mut World) {
    world.failing = false;
    // Nodes that are cut off come back, or are declared down; all others are ready.
    for (index, node) in world.agents.keys().copied().enumerate().collect::<Vec<_>>() {
        if world.agents[&node].connected || index % 2 == 0 {
            world.bring_back(node);
        } else {
            world.set_node(node, NodeState::Down);
        }
    }
    world.settle();
    let plan = reconcile(&world.state, &Scope::All, world.now, &world.limits);
    assert_eq!((plan.commands, plan.wakes), (vec![], vec![]), "quiet");
    assert_eq!(schedule(&world.state).commands(), [], "quiet");
    for service in world.state.services() {
        assert!(!service.removing, "a service that was removed is gone");
        let rolling = service.rollout.as_ref().is_some_and(|rollout| rollout.state.is_active());
        assert!(!rolling || !service.unplaced.is_empty(), "{service:?} rolls for ever");
        check_service(&world.state, service);
    }
    agents_do_what_they_should(world);
}

fn check_service(state: &State, service: &Service) {
    let mut slots: BTreeMap<Slot, Vec<&Task>> = BTreeMap::new();
    for task in state.tasks_of(service.id) {
        slots.entry(task.slot).or_default().push(task);
        assert!(task.is_final() || task.is_wanted(), "{task:?} never stops");
    }
    for (slot, tasks) in &slots {
        assert!(tasks.iter().filter(|task| task.is_final()).count() <= 5, "history of {slot} is bounded");
        for task in tasks.iter().filter(|task| task.is_wanted()) {
            let template = state.template_of(task).expect("kept while in use");
            match task.node {
                None => {
                    assert!(service.unplaced.contains_key(&task.template), "{task:?} waits without reason");
                }
                Some(node) => {
                    let node = state.node(node).expect("a task's node is there");
                    let candidate = Candidate { template, service: service.id, slot: task.slot };
                    assert_eq!(fits(candidate, node), Ok(()), "{task:?}");
                    assert_ne!(node.availability, Availability::Drained, "{task:?}");
                    assert_eq!(task.status.state, TaskState::Running, "{task:?}");
                }
            }
        }
    }
    match service.spec.mode {
        Mode::Replicated { replicas } => {
            assert_eq!(slots.len(), replicas as usize, "{slots:#?}");
            let filled =
                |tasks: &[&Task]| tasks.iter().any(|task| task.is_wanted()) || may_rest(service, tasks);
            assert!(slots.values().all(|tasks| filled(tasks)), "{slots:#?}");
            updated_or_explained(service, &slots);
        }
        Mode::Global => {
            let nodes: BTreeSet<NodeId> = state.nodes().map(|node| node.id).collect();
            for (slot, tasks) in &slots {
                assert!(matches!(slot, Slot::Node(id) if nodes.contains(id)), "{tasks:#?}");
            }
            for id in takers(state, service) {
                let tasks = slots.get(&Slot::Node(id)).expect("every node that fits has a slot");
                assert!(tasks.iter().any(|task| task.is_wanted()) || may_rest(service, tasks), "{tasks:#?}");
            }
        }
        Mode::ReplicatedJob { completions, .. } => {
            for number in 1..=completions {
                let tasks = slots.get(&Slot::Replica(number)).map_or(&[][..], Vec::as_slice);
                // Those that wait for room hold up the others.
                let waits = !service.unplaced.is_empty();
                assert!(waits || has_completed(tasks) || may_rest(service, tasks), "{number} {slots:#?}");
            }
            assert!(slots.keys().all(|slot| *slot <= Slot::Replica(completions)));
        }
        Mode::GlobalJob => {
            for id in takers(state, service) {
                let tasks = slots.get(&Slot::Node(id)).expect("every node that fits has a slot");
                let waits = tasks.iter().any(|task| task.is_wanted() && task.node.is_none());
                assert!(waits || has_completed(tasks) || may_rest(service, tasks), "{tasks:#?}");
            }
        }
    }
}

fn takers(state: &State, service: &Service) -> Vec<NodeId> {
    let template = &service.templates[&service.template].spec;
    let takes = |id: NodeId, node| {
        eligible(Candidate { template, service: service.id, slot: Slot::Node(id) }, node).is_ok()
    };
    state.nodes().filter(|node| takes(node.id, node)).map(|node| node.id).collect()
}

fn has_completed(tasks: &[&Task]) -> bool {
    tasks.iter().any(|task| task.status.state == TaskState::Complete)
}

/// Whether the restart policy lets a slot go without a task.
fn may_rest(service: &Service, tasks: &[&Task]) -> bool {
    let ends = |task: &&&Task| {
        let policy = &service.templates[&task.template].spec.restart;
        task.status.state.is_final()
            && (policy.condition != RestartCondition::Any || policy.max_attempts.is_some())
    };
    tasks.iter().any(|task| ends(&task))
}

/// Every slot runs the new template, unless the rollout was stopped or can't go on.
fn updated_or_explained(service: &Service, slots: &BTreeMap<Slot, Vec<&Task>>) {
    use wharf_cluster::model::RolloutState::{Completed, RolledBack};
    let through =
        service.rollout.as_ref().is_none_or(|rollout| matches!(rollout.state, Completed | RolledBack));
    for tasks in slots.values() {
        let wanted: Vec<&&Task> = tasks.iter().filter(|task| task.is_wanted()).collect();
        let old = wanted.iter().filter(|task| task.template != service.template).count();
        // Started first, an old one goes on where new ones failed as often as they may.
        let gave_up = tasks
            .iter()
            .any(|task| task.template == service.template && task.is_final() && may_rest(service, tasks));
        assert!(!through || old == 0 || gave_up, "{:?} {tasks:#?}", service.rollout);
        assert!(!through || wanted.len() <= 1, "{tasks:#?}");
    }
}

/// Agents that answer run what they should, and nothing else.
fn agents_do_what_they_should(world: &World) {
    for agent in world.agents.values().filter(|agent| agent.connected) {
        let runs: BTreeSet<_> =
            agent.tasks.iter().filter(|(_, state)| !state.is_final()).map(|(id, _)| *id).collect();
        let should: BTreeSet<_> = world.state.load(agent.node).tasks.iter().copied().collect();
        assert_eq!(runs, should);
    }
}
