//! Agents and controllers that freeze, or hardly get to run: what is frozen for long is given up, what is late is not,
//! and nobody's containers suffer for it.

use nix::sys::signal::Signal;
use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};
use wharf_tests::{Cluster, Options, Starved, TaskView, import_busybox, stack, within};

/// A heartbeat, and after what silence a node is down, as the controllers are told.
const HEARTBEAT: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(5);

fn options(controllers: u8) -> Options {
    let args = ["--heartbeat", "1s", "--missed-heartbeats", "5"].map(str::to_owned).to_vec();
    Options { controllers, controller_args: args, ..Options::default() }
}

/// Which task runs where, in which process.
fn processes(tasks: &[TaskView]) -> BTreeMap<String, Option<u32>> {
    tasks.iter().map(|task| (task.id.clone(), task.pid)).collect()
}

fn lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn signal_agent(cluster: &Cluster, index: usize, signal: Signal) {
    cluster.agent(index).expect("the agent runs").signal(signal);
}

fn signal_controller(cluster: &Cluster, index: usize, signal: Signal) {
    cluster.controller(index).expect("the controller runs").signal(signal);
}

fn await_ready(cluster: &Cluster) {
    within(
        60,
        "every node is ready",
        || cluster.nodes(),
        |nodes| nodes.iter().all(|node| node.state == "ready"),
    );
}

/// How often a node was given up.
fn verdicts(cluster: &Cluster) -> usize {
    let given_up = |event: &wharf_tests::EventView| event.kind == "node" && event.action == "down";
    cluster.events().iter().filter(|event| given_up(event)).count()
}

/// Looks on for `time`: no node may be given up, and each of `before` must go on in its process.
fn nothing_moves(cluster: &Cluster, before: &BTreeMap<String, Option<u32>>, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        assert!(before.values().flatten().all(|pid| lives(*pid)), "a container was stopped");
        sleep(HEARTBEAT / 4);
    }
    await_ready(cluster);
    assert_eq!(verdicts(cluster), 0, "a node was given up: {:#?}", cluster.events());
    assert_eq!(*before, processes(&cluster.tasks("idle/sleeper")), "a task was moved or replaced");
}

#[test]
fn a_node_whose_agent_freezes_does_not_stay_ready() {
    let cluster = Cluster::with(options(1));
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = cluster.await_running("idle/sleeper", 6, 60);
    let stranded: Vec<u32> =
        before.iter().filter(|task| task.node == "a1").filter_map(|task| task.pid).collect();
    assert!(!stranded.is_empty(), "a1 runs something: {before:#?}");

    signal_agent(&cluster, 0, Signal::SIGSTOP);
    cluster.await_moved("a1", "idle/sleeper", 6);
    assert!(stranded.iter().all(|pid| lives(*pid)), "its containers go on meanwhile");

    signal_agent(&cluster, 0, Signal::SIGCONT);
    await_ready(&cluster);
    within(
        30,
        "what was replaced has stopped",
        || stranded.clone(),
        |pids| !pids.iter().any(|pid| lives(*pid)),
    );
    cluster.await_running("idle/sleeper", 6, 30);
}

#[test]
fn a_late_heartbeat_moves_nothing() {
    let cluster = Cluster::with(options(1));
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = processes(&cluster.await_running("idle/sleeper", 6, 60));
    for _ in 0..3 {
        // Two beats are missed.
        signal_agent(&cluster, 0, Signal::SIGSTOP);
        sleep(HEARTBEAT * 2);
        signal_agent(&cluster, 0, Signal::SIGCONT);
        nothing_moves(&cluster, &before, HEARTBEAT * 2);
    }
}

#[test]
fn controllers_that_freeze_do_no_harm() {
    let cluster = Cluster::with(options(3));
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = processes(&cluster.await_running("idle/sleeper", 6, 60));

    // The leader, until another one is elected and for longer than a node may be silent.
    let frozen = cluster.leader();
    signal_controller(&cluster, frozen, Signal::SIGSTOP);
    within(30, "another leader", || cluster.leader(), |leader| *leader != frozen);
    nothing_moves(&cluster, &before, TTL * 2);
    signal_controller(&cluster, frozen, Signal::SIGCONT);
    nothing_moves(&cluster, &before, TTL * 2);
    within(
        30,
        "the frozen one is back",
        || cluster.controllers(),
        |all| {
            all.iter().all(|one| one.reachable) && all.iter().filter(|one| one.role == "leader").count() == 1
        },
    );

    // All of them at once, for longer than a node may be silent: it was they who did not listen.
    for index in 0..3 {
        signal_controller(&cluster, index, Signal::SIGSTOP);
    }
    sleep(TTL + TTL / 2);
    for index in 0..3 {
        signal_controller(&cluster, index, Signal::SIGCONT);
    }
    nothing_moves(&cluster, &before, TTL * 2);
    cluster.ok(&["scale", "idle/sleeper=7"]);
    cluster.await_running("idle/sleeper", 7, 60);
}

#[test]
fn a_lone_controller_that_freezes_gives_nobody_up() {
    let cluster = Cluster::with(options(1));
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = processes(&cluster.await_running("idle/sleeper", 6, 60));
    for _ in 0..2 {
        signal_controller(&cluster, 0, Signal::SIGSTOP);
        sleep(TTL + TTL / 2);
        signal_controller(&cluster, 0, Signal::SIGCONT);
        nothing_moves(&cluster, &before, TTL * 2);
    }
}

#[test]
fn a_starved_agent_loses_no_container() {
    // A hundredth of a processor is enough to say in time that it is there.
    const THOUSANDTHS: u64 = 10;
    let cluster = Cluster::with(Options { agents: 1, ..options(1) });
    let image = import_busybox(&cluster, "1");
    // One whose health is checked, with little patience.
    cluster.apply(&stack::web(&image, 4));
    let before = cluster.await_running("shop/web", 4, 60);
    let pid = cluster.agent(0).expect("the agent runs").pid();

    let starved = Starved::begin(pid, THOUSANDTHS);
    let until = Instant::now() + TTL * 4;
    while Instant::now() < until {
        for task in &before {
            assert!(task.pid.is_some_and(lives), "a healthy container was stopped: {task:?}");
        }
        sleep(HEARTBEAT / 4);
    }
    assert!(starved.refused() > 0, "the agent had all the time it wanted");
    drop(starved);
    await_ready(&cluster);
    assert_eq!(verdicts(&cluster), 0, "a node was given up: {:#?}", cluster.events());
    let after = cluster.await_running("shop/web", 4, 30);
    assert_eq!(processes(&before), processes(&after), "a task was replaced");
}

#[test]
fn an_agent_that_stutters_loses_no_container() {
    let cluster = Cluster::with(Options { agents: 1, ..options(1) });
    let image = import_busybox(&cluster, "1");
    // One whose health is checked every two seconds, and has two seconds to answer.
    cluster.apply(&stack::web(&image, 4));
    let before = cluster.await_running("shop/web", 4, 60);
    for _ in 0..8 {
        signal_agent(&cluster, 0, Signal::SIGSTOP);
        sleep(TTL / 2);
        signal_agent(&cluster, 0, Signal::SIGCONT);
        sleep(HEARTBEAT / 3);
        for task in &before {
            assert!(task.pid.is_some_and(lives), "a healthy container was stopped: {task:?}");
        }
    }
    await_ready(&cluster);
    assert_eq!(verdicts(&cluster), 0, "a node was given up: {:#?}", cluster.events());
    let after = cluster.await_running("shop/web", 4, 30);
    assert_eq!(processes(&before), processes(&after), "a task was replaced");
}

#[test]
fn a_starved_controller_gives_nobody_up() {
    // A hundredth of a processor: it hears of every node, but late, as it has people to answer, too.
    const THOUSANDTHS: u64 = 10;
    let cluster = Cluster::with(options(1));
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = processes(&cluster.await_running("idle/sleeper", 6, 60));
    let starved = Starved::begin(cluster.controller(0).expect("the controller runs").pid(), THOUSANDTHS);
    let until = Instant::now() + TTL * 4;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < until {
                // It may well take too long.
                drop(cluster.run(&["get", "nodes", "--stale"]));
            }
        });
        while Instant::now() < until {
            assert!(before.values().flatten().all(|pid| lives(*pid)), "a container was stopped");
            sleep(HEARTBEAT / 4);
        }
    });
    assert!(starved.refused() > 0, "the controller had all the time it wanted");
    drop(starved);
    nothing_moves(&cluster, &before, TTL * 2);
}
