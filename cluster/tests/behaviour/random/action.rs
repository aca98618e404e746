//! What can happen.

use crate::world::{
    World,
    spec::{global, job, port, replicated, with},
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use wharf_cluster::{
    command::Command,
    ids::NodeId,
    model::{
        Availability, FailureAction, Mode, NodeState, Order, Preference, RestartCondition, RestartPolicy,
        ServiceName, ServiceSpec, Strategy as Packing, UpdateConfig,
    },
    orchestrator::{Agenda, Scope, reconcile},
    scheduler::schedule,
};

/// One thing that happens. Numbers choose among what is there.
#[derive(Clone, Debug)]
pub enum Action {
    Apply(Vec<(usize, Variant)>),
    Scale(usize, u32),
    RemoveStack,
    Restart(usize),
    Undo(usize),
    AddNode,
    /// The node hears nothing and can't report, and nobody has noticed.
    Cut(usize),
    /// Somebody has noticed.
    Declare(usize, NodeState),
    Return(usize),
    RemoveNode(usize),
    Availability(usize, Availability),
    Zone(usize, &'static str),
    Fail(usize),
    Agent(usize),
    /// One report comes through, not in order; it may come again.
    Report(usize, usize, bool),
    Stale(usize),
    Deliver,
    Lead,
    LeadAll,
    Place,
    /// Decides now…
    Decide,
    /// … and proposes later, on another state.
    ProposeKept,
    NewLeader,
    Pass(u64),
    Snapshot,
    Rounds(usize),
}

/// What a service may look like.
#[derive(Clone, Debug)]
pub struct Variant {
    image: &'static str,
    number: u32,
    memory: u64,
    port: bool,
    per_node: u32,
    zone: bool,
    spread: bool,
    binpack: bool,
    restart: RestartPolicy,
    update: UpdateConfig,
}

pub const SERVICES: [&str; 4] = ["web", "agent", "job", "everywhere"];

impl Variant {
    fn spec(&self, service: usize) -> ServiceSpec {
        let image = if service < 2 { self.image } else { "job" };
        let spec = match service {
            0 => replicated(image, self.number),
            1 => global(image),
            2 => job(image, self.number, 2),
            _ => with(job(image, 0, 0), |spec| spec.mode = Mode::GlobalJob),
        };
        with(spec, |spec| {
            spec.template.resources.reservations.memory = self.memory;
            if self.port {
                spec.template.container.ports.push(port(80));
            }
            let placement = &mut spec.template.placement;
            placement.max_replicas_per_node = self.per_node;
            if self.zone {
                placement.constraints.push("node.labels.zone==a".parse().unwrap());
            }
            if self.spread {
                placement.preferences.push(Preference { spread: "node.labels.zone".parse().unwrap() });
            }
            if self.binpack {
                placement.strategy = Packing::Binpack;
            }
            spec.template.restart = self.restart.clone();
            spec.update = self.update.clone();
            spec.rollback = UpdateConfig { failure_action: FailureAction::Pause, ..self.update.clone() };
        })
    }
}

fn rare() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn variant() -> impl Strategy<Value = Variant> {
    let image = prop::sample::select(vec!["web:1", "web:2", "web:3", "bad:1"]);
    let condition = prop::sample::select(vec![
        RestartCondition::Any,
        RestartCondition::Any,
        RestartCondition::OnFailure,
        RestartCondition::None,
    ]);
    let restart =
        (condition, prop::sample::select(vec![1, 5_000]), prop::option::weighted(0.2, 0_u32..4)).prop_map(
            |(condition, delay, max_attempts)| RestartPolicy { condition, delay, max_attempts, window: 0 },
        );
    let action = prop::sample::select(vec![
        FailureAction::Pause,
        FailureAction::Continue,
        FailureAction::Rollback,
        FailureAction::Rollback,
    ]);
    let update = (0_u32..3, prop::sample::select(vec![0, 3_000]), action, rare(), any::<bool>()).prop_map(
        |(parallelism, delay, failure_action, start_first, lenient)| UpdateConfig {
            parallelism,
            delay,
            failure_action,
            monitor: 5_000,
            max_failure_ppm: if lenient { 400_000 } else { 0 },
            order: if start_first { Order::StartFirst } else { Order::StopFirst },
        },
    );
    let place = (prop::sample::select(vec![0, 0, 100, 400]), rare(), 0_u32..3, rare(), rare(), rare());
    (image, 0_u32..9, place, restart, update).prop_map(
        |(image, number, (memory, port, per_node, zone, spread, binpack), restart, update)| Variant {
            image,
            number,
            memory,
            port,
            per_node,
            zone,
            spread,
            binpack,
            restart,
            update,
        },
    )
}

/// A stack with every kind of service.
pub fn beginning() -> impl Strategy<Value = Action> {
    let all = (variant(), variant(), variant(), variant());
    all.prop_map(|(a, b, c, d)| Action::Apply(vec![(0, a), (1, b), (2, c), (3, d)]))
}

pub fn action() -> impl Strategy<Value = Action> {
    let at = || 0_usize..64;
    let service = || 0_usize..SERVICES.len();
    let availability =
        prop::sample::select(vec![Availability::Active, Availability::Cordoned, Availability::Drained]);
    let state = prop::sample::select(vec![NodeState::Down, NodeState::Down, NodeState::Unknown]);
    prop_oneof![
        6 => prop::collection::vec((service(), variant()), 0..4).prop_map(Action::Apply),
        3 => (service(), 0_u32..9).prop_map(|(service, number)| Action::Scale(service, number)),
        1 => Just(Action::RemoveStack),
        1 => service().prop_map(Action::Restart),
        1 => service().prop_map(Action::Undo),
        2 => Just(Action::AddNode),
        2 => at().prop_map(Action::Cut),
        3 => (at(), state).prop_map(|(node, state)| Action::Declare(node, state)),
        4 => at().prop_map(Action::Return),
        1 => at().prop_map(Action::RemoveNode),
        3 => (at(), availability).prop_map(|(node, to)| Action::Availability(node, to)),
        2 => (at(), prop::sample::select(vec!["a", "b"])).prop_map(|(node, zone)| Action::Zone(node, zone)),
        4 => at().prop_map(Action::Fail),
        8 => at().prop_map(Action::Agent),
        6 => (at(), at(), any::<bool>()).prop_map(|(node, which, again)| Action::Report(node, which, again)),
        2 => at().prop_map(Action::Stale),
        6 => Just(Action::Deliver),
        8 => Just(Action::Lead),
        1 => Just(Action::LeadAll),
        3 => Just(Action::Place),
        3 => Just(Action::Decide),
        3 => Just(Action::ProposeKept),
        1 => Just(Action::NewLeader),
        4 => prop::sample::select(vec![1, 100, 5_000, 60_000]).prop_map(Action::Pass),
        1 => Just(Action::Snapshot),
        6 => (1_usize..12).prop_map(Action::Rounds),
    ]
}

/// Lets `action` happen. What makes no sense now is refused, or does nothing.
pub fn act(world: &mut World, action: &Action, kept: &mut Vec<Command>) {
    match action {
        Action::Apply(services) => {
            let services = services.iter().map(|(which, variant)| (SERVICES[*which], variant.spec(*which)));
            let _ = world.apply("shop", services.collect());
        }
        Action::Scale(which, number) => {
            let _ = world.request(Command::ScaleServices { replicas: vec![(service(*which), *number)] });
        }
        Action::RemoveStack => {
            let _ = world.request(Command::RemoveStack { stack: "shop".to_owned() });
        }
        Action::Restart(which) => {
            let _ = world.request(Command::RestartService { service: service(*which) });
        }
        Action::Undo(which) => {
            let _ = world.request(Command::UndoRollout { service: service(*which), to: None });
        }
        Action::AddNode if world.agents.len() < 6 => {
            world.add_node(4_000_000_000, 1_000);
        }
        Action::AddNode => {}
        Action::Cut(at) => with_node(world, *at, |world, node| {
            world.agents.get_mut(&node).unwrap().connected = false;
        }),
        Action::Declare(at, state) => with_node(world, *at, |world, node| world.set_node(node, *state)),
        Action::Return(at) => with_node(world, *at, World::bring_back),
        Action::RemoveNode(at) => with_node(world, *at, |world, node| {
            let _ = world.request(Command::RemoveNode { node, force: true });
        }),
        Action::Availability(at, availability) => with_node(world, *at, |world, node| {
            world.request(Command::SetAvailability { node, availability: *availability }).unwrap();
        }),
        Action::Zone(at, zone) => with_node(world, *at, |world, node| {
            let set = BTreeMap::from([("zone".to_owned(), (*zone).to_owned())]);
            world.request(Command::SetNodeLabels { node, set, remove: Vec::new() }).unwrap();
        }),
        Action::Fail(at) => {
            let now = world.now;
            let tasks: Vec<_> = world
                .agents
                .values()
                .flat_map(|agent| agent.tasks.keys().map(|id| (agent.node, *id)))
                .collect();
            let chosen = tasks.get(at % tasks.len().max(1)).copied();
            if let Some((node, id)) = chosen {
                world.agents.get_mut(&node).unwrap().fail(id, now);
            }
        }
        Action::Agent(at) => with_node(world, *at, |world, node| {
            let agent = world.agents.get_mut(&node).unwrap();
            agent.hear(&world.state);
            agent.step(world.now, world.failing);
        }),
        Action::Report(at, which, again) => with_node(world, *at, |world, node| {
            let agent = world.agents.get_mut(&node).unwrap();
            if agent.connected && !agent.outbox.is_empty() {
                let which = which % agent.outbox.len();
                let report = agent.outbox[which].clone();
                if !again {
                    agent.outbox.remove(which);
                }
                world.stale.push(report.clone());
                world.propose(Command::ReportTasks { reports: vec![report] }).unwrap();
            }
        }),
        Action::Stale(which) => {
            if !world.stale.is_empty() {
                let report = world.stale[which % world.stale.len()].clone();
                world.propose(Command::ReportTasks { reports: vec![report] }).unwrap();
            }
        }
        Action::Deliver => {
            world.deliver();
        }
        Action::Lead => {
            world.lead();
        }
        Action::LeadAll => {
            world.orchestrate(&Scope::All);
        }
        Action::Place => {
            world.place();
        }
        Action::Decide => {
            kept.extend(reconcile(&world.state, &Scope::All, world.now, &world.limits).commands);
            kept.extend(schedule(&world.state).commands());
        }
        Action::ProposeKept => {
            for command in kept.drain(..) {
                // A service may no longer be one that can be forgotten.
                let _ = world.propose(command);
            }
        }
        Action::NewLeader => {
            world.agenda = Agenda::everything();
            let nodes = world.agents.keys().map(|id| (*id, NodeState::Unknown, String::new())).collect();
            world.propose(Command::SetNodeStates { nodes }).unwrap();
        }
        Action::Pass(millis) => world.now = world.now.plus(*millis),
        Action::Snapshot => world.restore_replica(),
        Action::Rounds(count) => {
            for _ in 0..*count {
                world.round();
            }
        }
    }
}

fn service(which: usize) -> ServiceName {
    ServiceName::new("shop", SERVICES[which])
}

fn with_node(world: &mut World, at: usize, then: impl FnOnce(&mut World, NodeId)) {
    if !world.agents.is_empty() {
        let node = world.node(at % world.agents.len());
        then(world, node);
    }
}
