//! Replicated and global services: numbers, nodes that come and go, removal.

use crate::world::{
    World,
    spec::{global, port, replicated, with},
};
use std::collections::BTreeMap;
use wharf_cluster::{
    command::Command,
    ids::NodeId,
    model::{Availability, DesiredState, NodeState, Slot},
    orchestrator::{Limits, Scope, reconcile},
};

fn scale(world: &mut World, replicas: u32) {
    let replicas = vec![("shop/web".parse().unwrap(), replicas)];
    world.request(Command::ScaleServices { replicas }).unwrap();
    world.settle();
}

fn per_node(world: &World, service: &str) -> Vec<usize> {
    let mut counts: BTreeMap<NodeId, usize> = world.agents.keys().map(|node| (*node, 0)).collect();
    for task in world.running(service) {
        *counts.entry(task.node.unwrap()).or_default() += 1;
    }
    counts.into_values().collect()
}

fn set_availability(world: &mut World, node: NodeId, availability: Availability) {
    world.request(Command::SetAvailability { node, availability }).unwrap();
}

#[test]
fn replicas_are_spread_and_scaled_evenly() {
    let mut world = World::with_nodes(3);
    world.apply("shop", vec![("web", replicated("web:1", 6))]).unwrap();
    world.settle();
    assert_eq!(per_node(&world, "shop/web"), [2, 2, 2]);
    scale(&mut world, 20);
    assert_eq!(world.running_slots("shop/web"), (1..=20).collect::<Vec<_>>());
    assert_eq!(per_node(&world, "shop/web"), [7, 7, 6]);
    scale(&mut world, 3);
    assert_eq!(per_node(&world, "shop/web"), [1, 1, 1]);
    assert_eq!(world.tasks("shop/web").len(), 3, "what was scaled away is forgotten");
    scale(&mut world, 0);
    assert_eq!(world.tasks("shop/web"), []);
}

#[test]
fn scaling_down_takes_the_pending_first() {
    let mut world = World::with_nodes(2);
    let spec = with(replicated("web:1", 4), |spec| spec.template.container.ports.push(port(80)));
    world.apply("shop", vec![("web", spec)]).unwrap();
    world.settle();
    let before = world.running("shop/web");
    assert_eq!(before.len(), 2);
    assert_eq!(&*world.service("shop/web").unplaced[&1], "2 of 2 nodes: port 80/tcp is taken");
    scale(&mut world, 2);
    assert_eq!(world.running("shop/web"), before);
    assert!(world.service("shop/web").unplaced.is_empty(), "the reason is taken back");
}

#[test]
fn scaling_down_takes_what_is_lost_first() {
    let mut world = World::with_nodes(3);
    world.limits.moves = 0;
    world.apply("shop", vec![("web", replicated("web:1", 6))]).unwrap();
    world.settle();
    let lost = world.node(1);
    world.lose(lost);
    let replicas = vec![("shop/web".parse().unwrap(), 4)];
    world.request(Command::ScaleServices { replicas }).unwrap();
    while world.round() {}
    assert_eq!(per_node(&world, "shop/web"), [2, 0, 2]);
}

#[test]
fn tasks_of_a_lost_node_run_elsewhere_and_its_return_leaves_no_surplus() {
    let mut world = World::with_nodes(3);
    world.apply("shop", vec![("web", replicated("web:1", 6)), ("agent", global("agent:1"))]).unwrap();
    world.settle();
    let lost = world.node(0);
    world.lose(lost);
    world.run_for(60_000);
    assert_eq!(world.running("shop/web").len(), 6);
    assert_eq!(per_node(&world, "shop/web"), [0, 3, 3]);
    assert_eq!(world.running("shop/agent").len(), 3, "a global service's task stays with its node");
    assert_eq!(world.agents[&lost].tasks.len(), 3, "the lost node goes on with what it had");

    world.bring_back(lost);
    world.settle();
    assert_eq!(world.agents[&lost].tasks.len(), 1);
    assert_eq!(world.running("shop/web").len(), 6);
    assert_eq!(world.running("shop/agent").len(), 3);
}

#[test]
fn no_verdict_no_move() {
    let mut world = World::with_nodes(3);
    world.apply("shop", vec![("web", replicated("web:1", 6)), ("agent", global("agent:1"))]).unwrap();
    world.settle();
    let nodes = world.agents.keys().map(|id| (*id, NodeState::Unknown, String::new())).collect();
    world.propose(Command::SetNodeStates { nodes }).unwrap();
    assert!(!world.orchestrate(&Scope::All));
    assert!(!world.place());
}

#[test]
fn a_drained_node_is_left_and_a_cordoned_one_keeps_what_it_has() {
    let mut world = World::with_nodes(3);
    world.apply("shop", vec![("web", replicated("web:1", 6)), ("agent", global("agent:1"))]).unwrap();
    world.settle();
    let (drained, cordoned) = (world.node(0), world.node(1));
    set_availability(&mut world, cordoned, Availability::Cordoned);
    set_availability(&mut world, drained, Availability::Drained);
    world.settle();
    assert_eq!(per_node(&world, "shop/web"), [0, 2, 4]);
    assert_eq!(per_node(&world, "shop/agent"), [0, 1, 1]);
    set_availability(&mut world, drained, Availability::Active);
    world.settle();
    assert_eq!(per_node(&world, "shop/agent"), [1, 1, 1]);
    assert_eq!(per_node(&world, "shop/web"), [0, 2, 4], "nothing is moved back");
}

#[test]
fn a_task_whose_constraint_no_longer_holds_moves() {
    let mut world = World::with_nodes(2);
    for index in 0..2 {
        let label = Command::SetNodeLabels {
            node: world.node(index),
            set: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            remove: Vec::new(),
        };
        world.request(label).unwrap();
    }
    let on_ssd = |spec| {
        with(spec, |spec| spec.template.placement.constraints.push("node.labels.disk==ssd".parse().unwrap()))
    };
    let services = vec![("web", on_ssd(replicated("web:1", 2))), ("agent", on_ssd(global("agent:1")))];
    world.apply("shop", services).unwrap();
    world.settle();
    assert_eq!(per_node(&world, "shop/web"), [1, 1]);
    let node = world.node(0);
    let unlabel = Command::SetNodeLabels { node, set: BTreeMap::new(), remove: vec!["disk".to_owned()] };
    world.request(unlabel).unwrap();
    world.settle();
    assert_eq!(per_node(&world, "shop/web"), [0, 2]);
    assert_eq!(per_node(&world, "shop/agent"), [0, 1]);
}

#[test]
fn a_new_node_gets_global_tasks_and_a_removed_one_is_forgotten() {
    let mut world = World::with_nodes(2);
    world.apply("shop", vec![("agent", global("agent:1"))]).unwrap();
    world.settle();
    let new = world.add_node(4_000_000_000, 1_000);
    world.settle();
    assert_eq!(world.running("shop/agent").len(), 3);
    world.request(Command::RemoveNode { node: new, force: true }).unwrap();
    world.settle();
    assert_eq!(world.tasks("shop/agent").len(), 2);
    assert!(world.tasks("shop/agent").iter().all(|task| task.slot != Slot::Node(new)));
}

#[test]
fn moves_after_a_loss_are_bounded() {
    let mut world = World::with_nodes(2);
    world.limits = Limits { moves: 3, move_interval: 1_000, ..Limits::default() };
    world.apply("shop", vec![("web", replicated("web:1", 20))]).unwrap();
    world.settle();
    let lost = world.node(0);
    world.lose(lost);
    let mut most = 0;
    let mut moved = 0;
    while moved < 10 {
        let at = world.now;
        let before = world.tasks("shop/web").len();
        while world.round() {}
        let made = world.tasks("shop/web").len() - before;
        most = most.max(made);
        moved += made;
        world.now = world.agenda.next_wake().expect("the rest follows").min(at.plus(1_000));
    }
    assert_eq!((most, moved), (3, 10));
}

#[test]
fn tasks_of_a_node_that_stays_away_are_given_up() {
    let mut world = World::with_nodes(2);
    world.apply("shop", vec![("web", replicated("web:1", 2)), ("agent", global("agent:1"))]).unwrap();
    world.settle();
    let lost = world.node(0);
    world.lose(lost);
    world.run_for(23 * 60 * 60 * 1000);
    assert!(world.state.load_of(lost).is_some());
    world.run_for(2 * 60 * 60 * 1000);
    assert!(world.state.load_of(lost).is_none());
    world.bring_back(lost);
    world.settle();
    assert_eq!(world.running("shop/agent").len(), 2);
}

#[test]
fn a_removed_stack_stops_and_its_name_is_free_at_once() {
    let mut world = World::with_nodes(2);
    world.apply("shop", vec![("web", replicated("web:1", 4))]).unwrap();
    world.settle();
    let old = world.service("shop/web").id;
    world.request(Command::RemoveStack { stack: "shop".to_owned() }).unwrap();
    world.apply("shop", vec![("web", replicated("web:2", 4))]).unwrap();
    world.settle();
    assert_eq!(world.running_images("shop/web"), ["web:2"; 4]);
    assert!(world.state.service(old).is_none());
    assert_eq!(world.state.tasks().filter(|task| task.service == old).count(), 0);
}

#[test]
fn an_unplaced_task_of_a_removed_service_goes_too() {
    let mut world = World::new();
    world.apply("shop", vec![("web", replicated("web:1", 4))]).unwrap();
    world.settle();
    assert_eq!(&*world.service("shop/web").unplaced[&1], "there is no node yet");
    world.request(Command::RemoveService { service: "shop/web".parse().unwrap() }).unwrap();
    world.settle();
    assert_eq!(world.state.services().count(), 0);
    assert_eq!(world.state.task_count(), 0);
}

#[test]
fn a_plan_proposed_twice_does_no_more() {
    let mut world = World::with_nodes(3);
    world.apply("shop", vec![("web", replicated("web:1", 6)), ("agent", global("agent:1"))]).unwrap();
    let mut rounds = 0;
    loop {
        let plan = reconcile(&world.state, &Scope::All, world.now, &world.limits);
        for command in plan.commands.iter().chain(&plan.commands) {
            world.propose(command.clone()).unwrap();
        }
        for command in plan.commands {
            let before = world.state.clone();
            world.propose(command).unwrap();
            assert_eq!(world.state, before);
        }
        world.place();
        let worked = world.work();
        if !world.deliver() && !worked {
            break;
        }
        rounds += 1;
        assert!(rounds < 50);
    }
    assert_eq!(world.running("shop/web").len(), 6);
    assert_eq!(world.tasks("shop/web").len(), 6);
}

#[test]
fn a_slot_waits_for_its_former_task_to_end() {
    let mut world = World::with_nodes(2);
    world.apply("shop", vec![("web", replicated("web:1", 2))]).unwrap();
    world.settle();
    let node = world.node(0);
    // The node keeps answering, and takes its time to stop what it runs.
    let slow = world.agents.get_mut(&node).unwrap();
    slow.connected = false;
    set_availability(&mut world, node, Availability::Drained);
    world.run_for(60_000);
    let waiting = |world: &World| {
        let tasks = world.tasks("shop/web");
        tasks.into_iter().filter(|task| task.desired == DesiredState::Ready).count()
    };
    assert_eq!(waiting(&world), 1);
    world.agents.get_mut(&node).unwrap().connected = true;
    world.settle();
    assert_eq!(waiting(&world), 0);
    assert_eq!(world.running("shop/web").len(), 2);
}
