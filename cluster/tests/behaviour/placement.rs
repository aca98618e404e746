//! Where the scheduler puts tasks, and what it says when it can't.

use crate::world::{
    World,
    spec::{global, port, replicated, with},
};
use std::collections::BTreeMap;
use wharf_cluster::{
    command::Command,
    ids::NodeId,
    model::{Availability, NodeState, Preference, ServiceSpec, Strategy},
    scheduler::schedule,
};

fn label(world: &mut World, index: usize, key: &str, value: &str) {
    let node = world.node(index);
    let set = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    world.request(Command::SetNodeLabels { node, set, remove: Vec::new() }).unwrap();
}

fn counts(world: &World) -> Vec<usize> {
    let on = |node: &NodeId| {
        world.tasks("shop/web").iter().filter(|task| task.is_wanted() && task.node == Some(*node)).count()
    };
    world.agents.keys().map(on).collect()
}

fn place(world: &mut World, spec: ServiceSpec) -> Vec<usize> {
    world.apply("shop", vec![("web", spec)]).unwrap();
    world.settle();
    counts(world)
}

fn reason(world: &World) -> String {
    world.service("shop/web").unplaced.values().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn reasons_are_counted_by_filter() {
    let mut world = World::with_nodes(6);
    label(&mut world, 3, "disk", "hdd");
    for index in [0, 1, 2, 5] {
        label(&mut world, index, "disk", "ssd");
    }
    let node = world.node(5);
    world.request(Command::SetAvailability { node, availability: Availability::Cordoned }).unwrap();
    let spec = with(replicated("web:1", 1), |spec| {
        spec.template.resources.reservations.memory = 2_000;
        spec.template.placement.constraints.push("node.labels.disk==ssd".parse().unwrap());
    });
    assert_eq!(place(&mut world, spec), [0; 6]);
    assert_eq!(
        reason(&world),
        "3 of 6 nodes: not enough memory, 2: constraint node.labels.disk==ssd, 1: cordoned or drained"
    );
    assert!(schedule(&world.state).commands().is_empty(), "a known reason is no news");
}

#[test]
fn a_global_task_explains_its_own_node() {
    let mut world = World::with_nodes(3);
    let other = with(replicated("web:1", 1), |spec| spec.template.container.ports.push(port(80)));
    world.apply("other", vec![("web", other)]).unwrap();
    world.settle();
    let spec = with(global("web:1"), |spec| spec.template.container.ports.push(port(80)));
    assert_eq!(place(&mut world, spec), [0, 1, 1]);
    assert_eq!(reason(&world), "1 of 1 node: port 80/tcp is taken");
}

#[test]
fn spread_evens_out_what_the_service_and_others_have() {
    let mut world = World::with_nodes(3);
    let pinned = with(replicated("web:1", 4), |spec| {
        let id = world.node(0);
        spec.template.placement.constraints.push(format!("node.id=={id}").parse().unwrap());
    });
    world.apply("other", vec![("web", pinned)]).unwrap();
    world.settle();
    assert_eq!(place(&mut world, replicated("web:1", 4)), [1, 2, 1]);
}

#[test]
fn preferences_are_spread_over_first() {
    let mut world = World::with_nodes(4);
    for (index, zone, rack) in [(0, "a", "1"), (1, "b", "1"), (2, "b", "2"), (3, "b", "2")] {
        label(&mut world, index, "zone", zone);
        label(&mut world, index, "rack", rack);
    }
    let by = |keys: &[&str]| {
        let preference = |key: &&str| Preference { spread: format!("node.labels.{key}").parse().unwrap() };
        let preferences = keys.iter().map(preference).collect();
        with(replicated("web:1", 8), |spec| spec.template.placement.preferences = preferences)
    };
    assert_eq!(place(&mut world, by(&["zone"])), [4, 2, 1, 1]);
    world.apply("shop", vec![]).unwrap();
    world.settle();
    assert_eq!(place(&mut world, by(&["zone", "rack"])), [4, 2, 1, 1]);
    world.apply("shop", vec![]).unwrap();
    world.settle();
    assert_eq!(place(&mut world, by(&["rack"])), [2, 2, 2, 2]);
}

#[test]
fn binpack_fills_one_node_after_another() {
    let mut world = World::with_nodes(3);
    let spec = with(replicated("web:1", 5), |spec| {
        spec.template.resources.reservations.memory = 300;
        spec.template.placement.strategy = Strategy::Binpack;
    });
    assert_eq!(place(&mut world, spec), [3, 2, 0]);
}

#[test]
fn bounds_hold_when_many_are_placed_at_once() {
    type Change = fn(&mut ServiceSpec);
    let cases: [(&str, Change, [usize; 3], &str); 4] = [
        (
            "memory",
            |spec| spec.template.resources.reservations.memory = 400,
            [2, 2, 2],
            "3 of 3 nodes: not enough memory",
        ),
        (
            "cpus",
            |spec| spec.template.resources.reservations.nano_cpus = 4_000_000_000,
            [1, 1, 1],
            "3 of 3 nodes: not enough cpus",
        ),
        ("ports", |spec| spec.template.container.ports.push(port(80)), [1, 1, 1], "port 80/tcp is taken"),
        (
            "replicas",
            |spec| spec.template.placement.max_replicas_per_node = 2,
            [2, 2, 2],
            "max_replicas_per_node reached",
        ),
    ];
    for (name, change, expected, why) in cases {
        let mut world = World::with_nodes(3);
        assert_eq!(place(&mut world, with(replicated("web:1", 10), change)), expected, "{name}");
        assert!(reason(&world).contains(why), "{name}: {}", reason(&world));
    }
}

#[test]
fn platforms_and_runtimes_are_asked_for() {
    let mut world = World::with_nodes(2);
    let spec = with(replicated("web:1", 1), |spec| {
        spec.template.container.runtime = Some("kata".to_owned());
    });
    assert_eq!(place(&mut world, spec), [0, 0]);
    assert_eq!(reason(&world), "2 of 2 nodes: no runtime \"kata\"");
    world.apply("shop", vec![]).unwrap();
    let spec = with(replicated("web:1", 1), |spec| {
        spec.template
            .placement
            .platforms
            .push(wharf_cluster::model::Platform { os: "linux".into(), architecture: "arm64".into() });
    });
    world.settle();
    assert_eq!(place(&mut world, spec), [0, 0]);
    assert_eq!(reason(&world), "2 of 2 nodes: image is for another platform");
}

#[test]
fn a_pending_task_is_placed_when_there_is_room() {
    let mut world = World::with_nodes(1);
    let node = world.node(0);
    world.set_node(node, NodeState::Unknown);
    assert_eq!(place(&mut world, replicated("web:1", 2)), [0]);
    assert_eq!(reason(&world), "1 of 1 node: not ready");
    world.set_node(node, NodeState::Ready);
    world.settle();
    assert_eq!(counts(&world), [2]);
    assert_eq!(reason(&world), "");
}
