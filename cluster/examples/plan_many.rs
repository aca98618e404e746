//! How long it takes to plan many tasks on many nodes: `cargo run --release -p wharf-cluster --example plan_many`
//! (nodes, services and tasks can be given: `-- 10000 100 100000`).

use std::{
    env,
    time::{Duration, Instant},
};
use wharf_cluster::{
    command::{Command, Envelope},
    event::Event,
    ids::{NodeId, Timestamp},
    model::{Mode, NodeDescription, NodeState, Platform, Preference, ServiceSpec, StackSpec},
    orchestrator::{Agenda, Limits, reconcile},
    scheduler::schedule,
    state::State,
};

const NOW: Timestamp = Timestamp(1_000);

fn main() {
    let mut numbers = env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default: usize| match numbers.next() {
        Some(Ok(number)) => number,
        _ => default,
    };
    let (nodes, services, tasks) = (next(10_000), next(100).max(1), next(100_000));
    let mut state = cluster(nodes);
    let apply = Command::ApplyStack { spec: stack(services, tasks), expected_version: None };
    let mut agenda = Agenda::everything();
    run(&mut state, &mut agenda, apply);
    let (mut orchestrating, mut scheduling, mut applying) = Default::default();
    loop {
        let orchestrated = timed(&mut orchestrating, || {
            let scope = agenda.take(&state, NOW);
            reconcile(&state, &scope, NOW, &Limits::default())
        });
        agenda.absorb(&orchestrated);
        let any = !orchestrated.commands.is_empty();
        timed(&mut applying, || {
            orchestrated.commands.into_iter().for_each(|command| run(&mut state, &mut agenda, command));
        });
        let placed = timed(&mut scheduling, || schedule(&state).commands());
        if !any && placed.is_empty() {
            break;
        }
        timed(&mut applying, || {
            placed.into_iter().for_each(|command| run(&mut state, &mut agenda, command));
        });
    }
    let placed = state.tasks().filter(|task| task.node.is_some()).count();
    let most = state.loads().map(|(_, load)| load.tasks.len()).max().unwrap_or(0);
    println!("{placed} of {tasks} tasks of {services} services on {nodes} nodes, at most {most} on one");
    println!("orchestrators {orchestrating:.2?}, scheduler {scheduling:.2?}, state machine {applying:.2?}");
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

fn run(state: &mut State, agenda: &mut Agenda, command: Command) {
    let (outcome, events): (_, Vec<Event>) = state.execute(&Envelope { at: NOW, request: None, command });
    outcome.expect("nothing here is refused");
    events.iter().for_each(|event| agenda.observe(state, event));
}

fn cluster(nodes: usize) -> State {
    let mut state = State::default();
    let mut ignored = Agenda::default();
    for number in 0..nodes {
        // Nodes get their ids in order: 0, 1, 2, …; a name each keeps the search for a free one short.
        let description = NodeDescription {
            hostname: format!("node-{number}"),
            platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() },
            nano_cpus: 64_000_000_000,
            memory: 256 << 30,
            runtimes: vec!["wharf".to_owned()],
            ..NodeDescription::default()
        };
        run(&mut state, &mut ignored, Command::RegisterNode { description });
    }
    let ids: Vec<NodeId> = state.nodes().map(|node| node.id).collect();
    for (number, node) in ids.iter().enumerate() {
        let set = [("zone".to_owned(), format!("zone-{}", number % 7))].into();
        run(&mut state, &mut ignored, Command::SetNodeLabels { node: *node, set, remove: Vec::new() });
    }
    let nodes = ids.into_iter().map(|id| (id, NodeState::Ready, String::new())).collect();
    run(&mut state, &mut ignored, Command::SetNodeStates { nodes });
    state
}

/// Services of different sizes, half of them spread over zones.
fn stack(services: usize, tasks: usize) -> StackSpec {
    let mut spec = StackSpec { name: "many".to_owned(), ..StackSpec::default() };
    for number in 0..services {
        let share = tasks / services + usize::from(number < tasks % services);
        let replicas = u32::try_from(share).unwrap_or(u32::MAX);
        let mut service = ServiceSpec { mode: Mode::Replicated { replicas }, ..ServiceSpec::default() };
        service.template.container.image = format!("image:{number}");
        service.template.resources.reservations.memory = 64 << 20;
        service.template.resources.reservations.nano_cpus = 50_000_000;
        if number % 2 == 0 {
            let zone = Preference { spread: "node.labels.zone".parse().expect("a constraint key") };
            service.template.placement.preferences.push(zone);
        }
        spec.services.insert(format!("service-{number}"), service);
    }
    spec
}
