//! The log that the fixture holds: every command of level 1, in an order that makes a state of some of everything.

use std::collections::BTreeMap;
use wharf_cluster::{
    command::{Command, Envelope, NewTask, TaskReport},
    ids::{ControllerId, NodeId, RequestId, ServiceId, TaskId, Timestamp},
    level::Level,
    model::{
        Availability, CgroupMode, Comparison, Constraint, ConstraintKey, ContainerSpec, DesiredState,
        EndpointMode, Exit, FailureAction, HealthCheck, HealthTest, JoinRole, LogConfig, Mode, Mount,
        MountKind, NetworkMode, NodeDescription, NodeState, Order, Placement, Platform, Port, Preference,
        Protocol, Reservation, Resources, RestartCondition, RestartPolicy, RolloutState, ServiceName,
        ServiceSpec, Slot, StackSpec, Strategy, TaskState, TaskTemplate, Ulimit, UpdateConfig, VolumeSpec,
    },
};

const ONE: NodeId = NodeId(3);
const TWO: NodeId = NodeId(4);
const AGENT: ServiceId = ServiceId(5);
const MIGRATE: ServiceId = ServiceId(6);
const ONCE: ServiceId = ServiceId(7);
const WEB: ServiceId = ServiceId(8);

/// The commands, each a second after the one before; every third comes from a client.
pub fn log() -> Vec<Envelope> {
    let envelope = |(number, command): (u64, Command)| Envelope {
        at: Timestamp(1_700_000_000_000 + number * 1000),
        request: number.is_multiple_of(3).then(|| RequestId(u128::from(number) << 64 | 7)),
        command,
    };
    (1..).zip(commands()).map(envelope).collect()
}

fn commands() -> Vec<Command> {
    [making(), nodes(), services(), tasks(), rollouts(), ending()].concat()
}

fn making() -> Vec<Command> {
    let roles = [(JoinRole::Agent, 'a'), (JoinRole::Controller, 'c'), (JoinRole::Registry, 'e')];
    vec![
        Command::InitCluster {
            id: "1e7e100000000001".to_owned(),
            ca_cert: include_str!("../fixtures/level1/ca.crt").to_owned(),
            ca_key: include_str!("../fixtures/level1/ca.key").to_owned(),
            tokens: roles.into_iter().map(|(role, digit)| (role, secret(digit))).collect(),
        },
        Command::SetControllerAddress {
            controller: ControllerId(1),
            name: "c1".to_owned(),
            address: "10.0.0.1:7400".to_owned(),
        },
        Command::AddController {
            name: "c2".to_owned(),
            address: "10.0.0.2:7400".to_owned(),
            level: Level::FIRST,
        },
        Command::RotateToken {
            role: JoinRole::Registry,
            secret: secret('f'),
            expires: Some(Timestamp(1_800_000_000_000)),
        },
        Command::RotateToken { role: JoinRole::Agent, secret: secret('b'), expires: None },
    ]
}

fn nodes() -> Vec<Command> {
    let described = NodeDescription {
        hostname: "one".to_owned(),
        address: "10.0.1.1".to_owned(),
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() },
        kernel: "6.1.0".to_owned(),
        nano_cpus: 4_000_000_000,
        memory: 8 << 30,
        cgroups: CgroupMode::Hybrid,
        runtimes: strings(&["wharf", "runc"]),
        labels: map(&[("rack", "7")]),
        version: "0.1.0".to_owned(),
    };
    let named = |hostname: &str| NodeDescription { hostname: hostname.to_owned(), ..described.clone() };
    let state = |node, state, why: &str| (node, state, why.to_owned());
    vec![
        Command::RegisterNode { description: NodeDescription { memory: 1 << 30, ..named("one") } },
        Command::RegisterNode { description: NodeDescription { cgroups: CgroupMode::V2, ..named("one") } },
        Command::DescribeNode { node: ONE, description: described.clone() },
        Command::SetNodeStates {
            nodes: vec![state(ONE, NodeState::Ready, ""), state(TWO, NodeState::Down, "missed 5 heartbeats")],
        },
        Command::SetNodeStates { nodes: vec![state(TWO, NodeState::Ready, "back")] },
        Command::SetNodeLabels { node: TWO, set: map(&[("disk", "ssd"), ("zone", "a")]), remove: Vec::new() },
        Command::SetNodeLabels { node: TWO, set: map(&[("zone", "b")]), remove: strings(&["disk"]) },
        Command::SetAvailability { node: TWO, availability: Availability::Drained },
        Command::SetAvailability { node: TWO, availability: Availability::Active },
    ]
}

fn services() -> Vec<Command> {
    let plain = |mode| ServiceSpec { mode, ..ServiceSpec::default() };
    let services = [
        ("agent", plain(Mode::Global)),
        ("migrate", plain(Mode::ReplicatedJob { completions: 2, concurrent: 1 })),
        ("once", plain(Mode::GlobalJob)),
        ("web", web()),
    ];
    let shop = StackSpec {
        name: "shop".to_owned(),
        services: services.into_iter().map(|(name, spec)| (name.to_owned(), spec)).collect(),
        volumes: [
            ("data".to_owned(), VolumeSpec { labels: map(&[("keep", "yes")]), external: false }),
            ("shared".to_owned(), VolumeSpec { labels: BTreeMap::new(), external: true }),
        ]
        .into(),
    };
    let other = StackSpec { name: "other".to_owned(), ..shop.clone() };
    let emptied = StackSpec { services: BTreeMap::new(), ..other.clone() };
    vec![
        Command::ApplyStack { spec: shop.clone(), expected_version: Some(0) },
        // Refused: it is there already.
        Command::ApplyStack { spec: shop, expected_version: Some(0) },
        Command::ApplyStack { spec: other, expected_version: None },
        Command::ApplyStack { spec: emptied, expected_version: Some(1) },
        Command::ScaleServices { replicas: vec![(ServiceName::new("shop", "web"), 4)] },
        // Refused: it is global.
        Command::ScaleServices { replicas: vec![(ServiceName::new("shop", "agent"), 4)] },
    ]
}

/// A service that uses every field.
fn web() -> ServiceSpec {
    let container = ContainerSpec {
        image: "registry.example/web:1".to_owned(),
        entrypoint: Some(strings(&["/entry"])),
        command: Some(strings(&["serve", "--fast"])),
        environment: map(&[("MODE", "live"), ("EMPTY", "")]),
        labels: map(&[("tier", "front")]),
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/srv".to_owned()),
        hostname: Some("web".to_owned()),
        stop_signal: Some("SIGQUIT".to_owned()),
        stop_grace_period: 3000,
        init: true,
        read_only: true,
        cap_add: strings(&["NET_ADMIN"]),
        cap_drop: strings(&["ALL"]),
        ulimits: [("nofile".to_owned(), Ulimit { soft: 1024, hard: -1 })].into(),
        sysctls: map(&[("net.core.somaxconn", "1024")]),
        extra_hosts: vec![("db".to_owned(), "10.0.0.9".to_owned())],
        mounts: vec![
            mount(
                "/b",
                MountKind::Bind {
                    source: "/host".to_owned(),
                    create_host_path: true,
                    propagation: Some("rslave".to_owned()),
                },
            ),
            mount("/v", MountKind::Volume { name: Some("data".to_owned()), nocopy: true }),
            mount("/t", MountKind::Tmpfs { size: Some(1 << 20), mode: Some(0o1777) }),
        ],
        ports: vec![
            Port {
                target: 80,
                published: Some(8080),
                host_ip: Some("127.0.0.1".to_owned()),
                protocol: Protocol::Tcp,
            },
            Port { target: 53, published: None, host_ip: None, protocol: Protocol::Udp },
        ],
        network_mode: NetworkMode::Bridge,
        healthcheck: Some(HealthCheck {
            test: HealthTest::Shell("true".to_owned()),
            interval: 1000,
            timeout: 500,
            retries: 3,
            start_period: 2000,
            start_interval: 100,
        }),
        logging: LogConfig { max_size: 1 << 20, max_file: 2 },
        runtime: Some("runc".to_owned()),
    };
    let constraint = |key, comparison, value: &str| Constraint { key, comparison, value: value.to_owned() };
    let update = UpdateConfig {
        parallelism: 2,
        delay: 100,
        failure_action: FailureAction::Rollback,
        monitor: 1000,
        max_failure_ppm: 250_000,
        order: Order::StartFirst,
    };
    ServiceSpec {
        mode: Mode::Replicated { replicas: 3 },
        labels: map(&[("team", "shop")]),
        template: TaskTemplate {
            container,
            resources: Resources {
                limits: Reservation { nano_cpus: 500_000_000, memory: 64 << 20 },
                pids_limit: 100,
                reservations: Reservation { nano_cpus: 250_000_000, memory: 32 << 20 },
            },
            restart: RestartPolicy {
                condition: RestartCondition::OnFailure,
                delay: 10,
                max_attempts: Some(3),
                window: 60_000,
            },
            placement: Placement {
                constraints: vec![
                    constraint(ConstraintKey::Os, Comparison::Equal, "linux"),
                    constraint(ConstraintKey::Label("zone".to_owned()), Comparison::NotEqual, "c"),
                    constraint(ConstraintKey::EngineLabel("rack".to_owned()), Comparison::Equal, "7"),
                ],
                preferences: vec![Preference { spread: ConstraintKey::Label("zone".to_owned()) }],
                max_replicas_per_node: 2,
                platforms: vec![Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() }],
                strategy: Strategy::Binpack,
            },
            restarted: 0,
        },
        update: update.clone(),
        rollback: UpdateConfig { failure_action: FailureAction::Continue, ..update },
        endpoint_mode: EndpointMode::Dnsrr,
    }
}

fn tasks() -> Vec<Command> {
    let new =
        |service, slot, desired, hold_until| NewTask { service, slot, template: 1, desired, hold_until };
    let running = DesiredState::Running;
    let first = FIRST_TASK;
    let report = |task: u64, node, state, exit, ports: &[(u16, u16)]| TaskReport {
        task: TaskId(first + task),
        node,
        state,
        at: Timestamp(1_700_000_020_000 + task),
        message: "as the agent says".into(),
        exit,
        pid: Some(4000 + u32::try_from(task).unwrap()),
        ports: ports.to_vec(),
    };
    vec![
        Command::CreateTasks {
            tasks: vec![
                new(AGENT, Slot::Node(ONE), running, None),
                new(AGENT, Slot::Node(TWO), running, None),
                new(MIGRATE, Slot::Replica(1), running, None),
                new(WEB, Slot::Replica(1), running, None),
                new(WEB, Slot::Replica(2), running, None),
                new(WEB, Slot::Replica(3), DesiredState::Ready, Some(Timestamp(1_700_000_100_000))),
                new(WEB, Slot::Replica(4), running, None),
                new(ONCE, Slot::Node(ONE), running, None),
            ],
        },
        Command::PlaceTasks {
            placements: vec![
                (TaskId(first), ONE),
                (TaskId(first + 1), TWO),
                (TaskId(first + 2), ONE),
                (TaskId(first + 3), ONE),
                (TaskId(first + 4), TWO),
                // Not feasible: its port is taken there.
                (TaskId(first + 5), TWO),
                (TaskId(first + 7), ONE),
            ],
        },
        Command::ExplainUnplaced {
            reasons: vec![(WEB, 1, Some("2 of 2 nodes: port 8080 is taken".into())), (AGENT, 1, None)],
        },
        Command::ReportTasks {
            reports: vec![
                report(0, ONE, TaskState::Running, None, &[]),
                report(1, TWO, TaskState::Preparing, None, &[]),
                report(2, ONE, TaskState::Complete, Some(Exit { code: 0, oom_killed: false }), &[]),
                report(3, ONE, TaskState::Running, None, &[(8080, 80), (32_768, 53)]),
                report(4, TWO, TaskState::Failed, Some(Exit { code: 137, oom_killed: true }), &[]),
                report(7, ONE, TaskState::Complete, Some(Exit { code: 0, oom_killed: false }), &[]),
            ],
        },
        Command::SetDesired {
            tasks: vec![
                (TaskId(first + 4), DesiredState::Shutdown),
                (TaskId(first + 6), DesiredState::Shutdown),
                (TaskId(first + 7), DesiredState::Remove),
            ],
        },
        Command::RemoveTasks { tasks: vec![TaskId(first + 6), TaskId(first + 7)] },
        Command::OrphanTasks { tasks: vec![TaskId(first + 1)] },
    ]
}

/// The id of the first task: after a controller's, two nodes', and two stacks' of four services each.
const FIRST_TASK: u64 = 13;

fn rollouts() -> Vec<Command> {
    let web = ServiceName::new("shop", "web");
    let rollout =
        |to, state, message: &str| Command::SetRollout { service: WEB, to, state, message: message.into() };
    let task = |slot| NewTask {
        service: WEB,
        slot: Slot::Replica(slot),
        template: 2,
        desired: DesiredState::Running,
        hold_until: None,
    };
    vec![
        Command::RestartService { service: web.clone() },
        Command::CreateTasks { tasks: vec![task(1), task(2)] },
        rollout(2, RolloutState::Paused, "task shop/web.2 failed"),
        rollout(2, RolloutState::RollingBack, "1 of 2 tasks failed"),
        rollout(1, RolloutState::RolledBack, ""),
        Command::RestartService { service: web.clone() },
        Command::UndoRollout { service: web.clone(), to: Some(2) },
        // Refused: there is no such version.
        Command::UndoRollout { service: web.clone(), to: Some(70) },
        Command::UndoRollout { service: web, to: None },
    ]
}

fn ending() -> Vec<Command> {
    let other = |id| Command::ForgetService { service: ServiceId(id) };
    vec![
        Command::RemoveService { service: ServiceName::new("shop", "once") },
        Command::ForgetService { service: ONCE },
        Command::RemoveStack { stack: "other".to_owned() },
        other(9),
        other(10),
        // Refused: there is none.
        Command::RemoveStack { stack: "nothing".to_owned() },
        // Refused: it is ready.
        Command::RemoveNode { node: TWO, force: false },
        Command::RemoveNode { node: TWO, force: true },
        Command::RemoveController { controller: ControllerId(2) },
        Command::SetNodeStates { nodes: vec![(ONE, NodeState::Unknown, "a new leader".to_owned())] },
    ]
}

fn mount(target: &str, kind: MountKind) -> Mount {
    Mount { kind, target: target.to_owned(), read_only: true }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A token's secret, in hexadecimal.
fn secret(digit: char) -> String {
    digit.to_string().repeat(64)
}
