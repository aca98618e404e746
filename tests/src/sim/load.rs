//! What clients want: stacks with every kind of service, changed, scaled, restarted, undone, removed; nodes drained and
//! labelled; reads in between.

use super::{rng::Rng, world::World};
use std::collections::BTreeMap;
use wharf_cluster::{
    command::Command,
    ids::{ControllerId, NodeId},
    model::{
        Availability, FailureAction, Mode, Order, Port, Preference, Protocol, RestartCondition,
        RestartPolicy, ServiceName, ServiceSpec, StackSpec, Strategy, UpdateConfig,
    },
};

/// Something that a client wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A change.
    Command(Command),
    /// To know a stack's version.
    Read(String),
    /// Another leader.
    Transfer(u64),
    /// A controller out of the cluster, if enough are left.
    RemoveController(ControllerId),
    /// A controller's machine in the cluster.
    JoinController(usize),
    /// A node's machine in the cluster.
    JoinNode(usize),
}

const STACKS: [&str; 2] = ["blog", "shop"];
const SERVICES: [&str; 5] = ["web", "api", "agent", "job", "everywhere"];

fn spec(rng: &mut Rng, service: usize) -> ServiceSpec {
    let images: &[&str] =
        if service < 3 { &["web:1", "web:2", "web:3", "web:4", "bad:1"] } else { &["job:1", "job:2"] };
    let number = u32::try_from(rng.within(0..=7)).unwrap_or(1);
    let mut spec = ServiceSpec {
        mode: match service {
            0 | 1 => Mode::Replicated { replicas: number },
            2 => Mode::Global,
            3 => Mode::ReplicatedJob { completions: number, concurrent: 2 },
            _ => Mode::GlobalJob,
        },
        ..ServiceSpec::default()
    };
    let template = &mut spec.template;
    template.container.image = rng.pick(images).copied().unwrap_or_default().to_owned();
    template.resources.reservations.memory = rng.pick(&[0, 0, 100, 400]).copied().unwrap_or_default();
    template.resources.reservations.nano_cpus = rng.pick(&[0, 0, 500_000_000]).copied().unwrap_or_default();
    if rng.chance(0.15) {
        template.container.ports.push(Port {
            target: 80,
            published: Some(8000 + u16::try_from(service).unwrap_or(0)),
            host_ip: None,
            protocol: Protocol::Tcp,
        });
    }
    let placement = &mut template.placement;
    placement.max_replicas_per_node = rng.pick(&[0, 0, 0, 1, 2]).copied().unwrap_or_default();
    if rng.chance(0.15) {
        placement.constraints.extend("node.labels.zone==a".parse());
    }
    if rng.chance(0.15) {
        placement.preferences.extend("node.labels.zone".parse().map(|spread| Preference { spread }));
    }
    if rng.chance(0.15) {
        placement.strategy = Strategy::Binpack;
    }
    template.restart = RestartPolicy {
        condition: *rng
            .pick(&[
                RestartCondition::Any,
                RestartCondition::Any,
                RestartCondition::OnFailure,
                RestartCondition::None,
            ])
            .unwrap_or(&RestartCondition::Any),
        delay: rng.pick(&[0, 0, 500, 3_000]).copied().unwrap_or_default(),
        max_attempts: rng.pick(&[None, None, Some(2)]).copied().flatten(),
        window: 0,
    };
    let failure_action = [FailureAction::Pause, FailureAction::Continue, FailureAction::Rollback];
    spec.update = UpdateConfig {
        parallelism: rng.pick(&[0, 1, 2]).copied().unwrap_or_default(),
        delay: rng.pick(&[0, 0, 1_000]).copied().unwrap_or_default(),
        failure_action: *rng.pick(&failure_action).unwrap_or(&FailureAction::Pause),
        monitor: rng.pick(&[0, 1_000, 5_000]).copied().unwrap_or_default(),
        max_failure_ppm: if rng.chance(0.3) { 400_000 } else { 0 },
        order: if rng.chance(0.2) { Order::StartFirst } else { Order::StopFirst },
    };
    spec.rollback = UpdateConfig { failure_action: FailureAction::Pause, ..spec.update.clone() };
    spec
}

impl World {
    /// What a client wants now.
    pub fn wish(&mut self) -> Wish {
        let stack = STACKS[self.rng.index(STACKS.len())];
        let service = self.rng.index(SERVICES.len());
        let name = ServiceName::new(stack, SERVICES[service]);
        let node = self.some_node();
        Wish::Command(match self.rng.within(0..=99) {
            0..=29 => return Wish::Read(stack.to_owned()),
            30..=54 => self.apply(stack),
            55..=69 => {
                let number = u32::try_from(self.rng.within(0..=8)).unwrap_or(1);
                Command::ScaleServices { replicas: vec![(name, number)] }
            }
            70..=76 => Command::RestartService { service: name },
            77..=81 => Command::UndoRollout { service: name, to: None },
            82..=84 => Command::RemoveService { service: name },
            85..=86 => Command::RemoveStack { stack: stack.to_owned() },
            87..=93 => {
                let all = [
                    Availability::Active,
                    Availability::Active,
                    Availability::Drained,
                    Availability::Cordoned,
                ];
                let availability = *self.rng.pick(&all).unwrap_or(&Availability::Active);
                Command::SetAvailability { node, availability }
            }
            _ => {
                let zone = if self.rng.chance(0.5) { "a" } else { "b" };
                let set = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
                Command::SetNodeLabels { node, set, remove: Vec::new() }
            }
        })
    }

    fn apply(&mut self, stack: &str) -> Command {
        let mut services = BTreeMap::new();
        for (service, name) in SERVICES.iter().enumerate() {
            if self.rng.chance(0.6) {
                services.insert((*name).to_owned(), spec(&mut self.rng, service));
            }
        }
        let known = self.checks.reference.newest().and_then(|state| state.stack(stack));
        let version = known.map_or(0, |stack| stack.version);
        let expected_version = self.rng.chance(0.5).then_some(version);
        let spec = StackSpec { name: stack.to_owned(), services, volumes: BTreeMap::new() };
        Command::ApplyStack { spec, expected_version }
    }

    fn some_node(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.nodes.iter().filter_map(|node| node.id).collect();
        self.rng.pick(&ids).copied().unwrap_or(NodeId(0))
    }
}
