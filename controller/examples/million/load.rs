//! A large state, made by the commands that a real one is made by.

use crate::{Failure, member::Member};
use futures::{StreamExt, TryStreamExt, stream};
use wharf_cluster::{
    command::{Command, NewTask, TaskReport},
    ids::{NodeId, ServiceId, TaskId, Timestamp},
    level::Level,
    model::{
        DesiredState, Mode, NodeDescription, NodeState, Platform, ServiceSpec, Slot, StackSpec, TaskState,
    },
};

/// How large.
#[derive(Clone, Copy)]
pub struct Size {
    pub tasks: usize,
    pub services: usize,
    pub nodes: usize,
}

/// Commands under way.
const PIPELINE: usize = 16;
/// Tasks in one command.
const BATCH: usize = 1000;

pub async fn build(member: &Member, size: Size) -> Result<(), Failure> {
    member.propose(Command::RaiseLevel { to: Level::NEWEST }).await?;
    run(member, (0..size.nodes).map(|number| Command::RegisterNode { description: node(number) })).await?;
    let nodes: Vec<NodeId> = member.published.state().nodes().map(|node| node.id).collect();
    let ready = nodes.iter().map(|node| (*node, NodeState::Ready, String::new())).collect();
    member.propose(Command::SetNodeStates { nodes: ready }).await?;
    member.propose(Command::ApplyStack { spec: stack(size), expected_version: None }).await?;

    let services: Vec<(ServiceId, u64)> =
        member.published.state().services().map(|service| (service.id, service.template)).collect();
    let task = |number: usize| {
        let (service, template) = services[number % services.len()];
        let slot = Slot::Replica(u32::try_from(number / services.len() + 1).unwrap_or(u32::MAX));
        NewTask { service, slot, template, desired: DesiredState::Running, hold_until: None }
    };
    let batches = (0..size.tasks).step_by(BATCH);
    let range = |first: usize| first..(first + BATCH).min(size.tasks);
    run(
        member,
        batches.clone().map(|first| Command::CreateTasks { tasks: range(first).map(task).collect() }),
    )
    .await?;

    let tasks: Vec<TaskId> = member.published.state().tasks().map(|task| task.id).collect();
    let place = |number: usize| (tasks[number], nodes[number % nodes.len()]);
    run(
        member,
        batches.clone().map(|first| Command::PlaceTasks { placements: range(first).map(place).collect() }),
    )
    .await?;
    let report = |number: usize| {
        let (task, node) = place(number);
        TaskReport {
            task,
            node,
            state: TaskState::Running,
            at: Timestamp(1_700_000_000_000 + scattered(number) % 1_000_000_000),
            message: "".into(),
            exit: None,
            pid: u32::try_from(scattered(number) >> 42).ok(),
            ports: Vec::new(),
        }
    };
    run(member, batches.map(|first| Command::ReportTasks { reports: range(first).map(report).collect() }))
        .await?;

    let state = member.published.state();
    let running = state.tasks().filter(|task| task.status.state == TaskState::Running).count();
    println!("{running} of {} tasks of {} services run on {} nodes", size.tasks, size.services, size.nodes);
    if running == size.tasks { Ok(()) } else { Err("some tasks don't run".into()) }
}

/// As good as random, so that a snapshot is not smaller than a real one.
fn scattered(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Small changes of nodes.
pub async fn small_writes(member: &Member, count: usize) -> Result<(), Failure> {
    let nodes: Vec<NodeId> = member.published.state().nodes().map(|node| node.id).collect();
    let label = |number: usize| {
        let set = [("turn".to_owned(), number.to_string())].into();
        Command::SetNodeLabels { node: nodes[number % nodes.len()], set, remove: Vec::new() }
    };
    run(member, (0..count).map(label)).await
}

async fn run(member: &Member, commands: impl Iterator<Item = Command>) -> Result<(), Failure> {
    let proposals = stream::iter(commands).map(|command| member.propose(command));
    proposals.buffered(PIPELINE).try_for_each(|_| async { Ok(()) }).await
}

fn node(number: usize) -> NodeDescription {
    NodeDescription {
        hostname: format!("node-{number}"),
        address: format!("10.{}.{}.{}", number >> 16, number >> 8 & 0xff, number & 0xff),
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() },
        kernel: "6.18.0".to_owned(),
        nano_cpus: 64_000_000_000,
        memory: 256 << 30,
        runtimes: vec!["wharf".to_owned(), "runc".to_owned()],
        version: "0.1.0".to_owned(),
        ..NodeDescription::default()
    }
}

fn stack(size: Size) -> StackSpec {
    let mut spec = StackSpec { name: "many".to_owned(), ..StackSpec::default() };
    for number in 0..size.services {
        let share = size.tasks / size.services + usize::from(number < size.tasks % size.services);
        let replicas = u32::try_from(share).unwrap_or(u32::MAX);
        let mut service = ServiceSpec { mode: Mode::Replicated { replicas }, ..ServiceSpec::default() };
        service.template.container.image = format!("registry.example/shop/service-{number}:1.0");
        service.template.resources.reservations.memory = 64 << 20;
        service.template.resources.reservations.nano_cpus = 50_000_000;
        spec.services.insert(format!("service-{number}"), service);
    }
    spec
}
