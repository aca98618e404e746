//! Updates: order, pace, failure, the way back.

use crate::world::{
    World,
    spec::{global, port, replicated, update, with},
};
use std::collections::BTreeSet;
use wharf_cluster::{
    command::Command,
    model::{Availability, FailureAction, Order, RestartCondition, RolloutState, ServiceSpec, UpdateConfig},
};

fn web(image: &str, replicas: u32, update: &UpdateConfig) -> ServiceSpec {
    with(replicated(image, replicas), |spec| {
        spec.update = update.clone();
        spec.rollback = UpdateConfig { failure_action: FailureAction::Pause, ..update.clone() };
        spec.template.restart.delay = 1_000;
    })
}

fn apply(world: &mut World, spec: ServiceSpec) {
    world.apply("shop", vec![("web", spec)]).unwrap();
}

fn state(world: &World) -> RolloutState {
    world.service("shop/web").rollout.as_ref().expect("there is a rollout").state
}

/// Runs to the end, and says how few and how many tasks ran at any time, and how many were new at most.
fn watch(world: &mut World) -> (usize, usize) {
    let (mut least, mut most) = (usize::MAX, 0);
    let mut rounds = 0;
    while state(world).is_active() {
        let running = world.running("shop/web").len();
        (least, most) = (least.min(running), most.max(running));
        if !world.round() {
            match world.agenda.next_wake() {
                Some(wake) => world.now = wake,
                None => break,
            }
        }
        rounds += 1;
        assert!(rounds < 5_000, "the rollout doesn't end: {:?}", world.service("shop/web").rollout);
    }
    (least, most)
}

#[test]
fn an_update_keeps_to_its_order_and_parallelism() {
    let cases = [
        (Order::StopFirst, 1, (5, 6)),
        (Order::StopFirst, 2, (4, 6)),
        (Order::StopFirst, 0, (0, 6)),
        (Order::StartFirst, 1, (6, 7)),
        (Order::StartFirst, 3, (6, 9)),
    ];
    for (order, parallelism, bounds) in cases {
        let mut world = World::with_nodes(3);
        let config = update(parallelism, order, FailureAction::Pause);
        apply(&mut world, web("web:1", 6, &config));
        world.settle();
        apply(&mut world, web("web:2", 6, &config));
        assert_eq!(watch(&mut world), bounds, "{order:?} {parallelism}");
        assert_eq!(state(&world), RolloutState::Completed);
        world.settle();
        assert_eq!(world.running_images("shop/web"), ["web:2"; 6]);
        let nodes: BTreeSet<_> = world.running("shop/web").iter().map(|task| task.node).collect();
        assert_eq!(nodes.len(), 3, "the new tasks are spread too");
    }
}

#[test]
fn batches_are_apart_by_the_delay_and_the_end_by_the_monitor() {
    let mut world = World::with_nodes(2);
    let config = UpdateConfig { delay: 10_000, ..update(2, Order::StopFirst, FailureAction::Pause) };
    apply(&mut world, web("web:1", 6, &config));
    world.settle();
    let start = world.now;
    apply(&mut world, web("web:2", 6, &config));
    watch(&mut world);
    // Three batches; the last one's delay is longer than its monitor, and over before the end.
    assert_eq!(world.now.since(start), 30_000);
    let mut starts: Vec<u64> =
        world.running("shop/web").iter().map(|task| task.created.since(start)).collect();
    starts.sort_unstable();
    assert_eq!(starts, [0, 0, 10_000, 10_000, 20_000, 20_000]);
}

#[test]
fn a_failing_update_pauses() {
    let mut world = World::with_nodes(3);
    let config = update(1, Order::StopFirst, FailureAction::Pause);
    apply(&mut world, web("web:1", 4, &config));
    world.settle();
    apply(&mut world, web("bad:2", 4, &config));
    world.run_for(60_000);
    assert_eq!(state(&world), RolloutState::Paused);
    assert_eq!(
        &*world.service("shop/web").rollout.as_ref().unwrap().message,
        "1 of 4 failed; shop/web.1 failed: exit code 1"
    );
    assert_eq!(world.running_images("shop/web"), ["web:1"; 3]);

    // A task of the old version that ends is restarted as what it was: the bad one doesn't spread.
    let task = world.running("shop/web")[0].clone();
    world.agents.get_mut(&task.node.unwrap()).unwrap().fail(task.id, world.now);
    world.run_for(60_000);
    assert_eq!(world.running_images("shop/web"), ["web:1"; 3]);

    // A better version takes over.
    apply(&mut world, web("web:3", 4, &config));
    world.settle();
    assert_eq!(state(&world), RolloutState::Completed);
    assert_eq!(world.running_images("shop/web"), ["web:3"; 4]);
}

#[test]
fn a_failing_update_goes_back_by_itself() {
    for order in [Order::StopFirst, Order::StartFirst] {
        let mut world = World::with_nodes(3);
        let config = update(2, order, FailureAction::Rollback);
        apply(&mut world, web("web:1", 4, &config));
        world.settle();
        let before = world.running("shop/web");
        apply(&mut world, web("bad:2", 4, &config));
        world.settle();
        assert_eq!(state(&world), RolloutState::RolledBack);
        assert_eq!(world.running_images("shop/web"), ["web:1"; 4]);
        let untouched = world.running("shop/web").iter().filter(|task| before.contains(task)).count();
        assert_eq!(untouched, if order == Order::StartFirst { 4 } else { 2 });
        assert_eq!(world.service("shop/web").spec.template.container.image, "web:1");

        // The same bad version again: the failures of the first time don't count, those of now do.
        apply(&mut world, web("bad:2", 4, &config));
        assert_eq!(state(&world), RolloutState::Updating);
        world.settle();
        assert_eq!(state(&world), RolloutState::RolledBack);
        assert_eq!(world.running_images("shop/web"), ["web:1"; 4]);
    }
}

#[test]
fn failures_that_are_borne_stop_nothing() {
    for order in [Order::StopFirst, Order::StartFirst] {
        for config in [
            update(1, order, FailureAction::Continue),
            UpdateConfig { max_failure_ppm: 1_000_000, ..update(1, order, FailureAction::Pause) },
        ] {
            let mut world = World::with_nodes(3);
            let spec = |image| {
                with(web(image, 4, &config), |spec| {
                    spec.template.restart.condition = RestartCondition::OnFailure;
                    spec.template.restart.max_attempts = Some(2);
                })
            };
            apply(&mut world, spec("web:1"));
            world.settle();
            apply(&mut world, spec("bad:2"));
            world.settle();
            assert_eq!(state(&world), RolloutState::Completed, "{order:?}");
            // Started first, the old ones are kept where no new one ever ran.
            let left = if order == Order::StartFirst { 4 } else { 0 };
            assert_eq!(world.running_images("shop/web"), vec!["web:1"; left]);
        }
    }
}

#[test]
fn a_failure_after_the_monitor_does_not_count() {
    let mut world = World::with_nodes(2);
    let config = UpdateConfig { delay: 20_000, ..update(1, Order::StopFirst, FailureAction::Rollback) };
    apply(&mut world, web("web:1", 2, &config));
    world.settle();
    apply(&mut world, web("web:2", 2, &config));
    world.run_for(10_000);
    let new = world.running("shop/web").into_iter().find(|task| task.template == 2).unwrap();
    world.agents.get_mut(&new.node.unwrap()).unwrap().fail(new.id, world.now);
    world.settle();
    assert_eq!(state(&world), RolloutState::Completed);
    assert_eq!(world.running_images("shop/web"), ["web:2"; 2]);
}

#[test]
fn a_newer_update_takes_over() {
    for order in [Order::StopFirst, Order::StartFirst] {
        let mut world = World::with_nodes(2);
        let config = update(1, order, FailureAction::Rollback);
        apply(&mut world, web("web:1", 4, &config));
        world.settle();
        apply(&mut world, web("web:2", 4, &config));
        for _ in 0..7 {
            world.round();
        }
        apply(&mut world, web("bad:3", 4, &config));
        world.settle();
        assert_eq!(state(&world), RolloutState::RolledBack);
        assert_eq!(world.running_images("shop/web"), ["web:1"; 4], "the last one that came through");
    }
}

#[test]
fn undo_and_restart_replace_every_task() {
    let mut world = World::with_nodes(2);
    let config = update(0, Order::StopFirst, FailureAction::Pause);
    apply(&mut world, web("web:1", 3, &config));
    world.settle();
    apply(&mut world, web("web:2", 3, &config));
    world.settle();
    let service = || "shop/web".parse().unwrap();
    let restart = |world: &mut World| {
        let before = world.running("shop/web");
        world.request(Command::RestartService { service: service() }).unwrap();
        world.settle();
        let after = world.running("shop/web");
        assert_eq!(after.len(), 3);
        assert!(after.iter().all(|task| !before.iter().any(|old| old.id == task.id)));
    };
    restart(&mut world);
    world.request(Command::UndoRollout { service: service(), to: Some(1) }).unwrap();
    world.settle();
    assert_eq!(world.running_images("shop/web"), ["web:1"; 3]);
    assert_eq!(state(&world), RolloutState::RolledBack);
    restart(&mut world);
    assert_eq!(world.running_images("shop/web"), ["web:1"; 3]);
}

#[test]
fn nothing_to_replace_is_complete() {
    let mut world = World::with_nodes(1);
    let config = update(1, Order::StopFirst, FailureAction::Pause);
    apply(&mut world, web("web:1", 0, &config));
    world.settle();
    apply(&mut world, web("web:2", 0, &config));
    world.settle();
    assert_eq!(state(&world), RolloutState::Completed);
}

#[test]
fn a_slot_that_had_ended_for_good_is_updated_too() {
    let mut world = World::with_nodes(1);
    let once =
        |image| with(replicated(image, 2), |spec| spec.template.restart.condition = RestartCondition::None);
    apply(&mut world, once("job:1"));
    world.settle();
    assert_eq!(world.tasks("shop/web").len(), 2);
    apply(&mut world, once("web:2"));
    world.settle();
    assert_eq!(world.running_images("shop/web"), ["web:2"; 2]);
    assert_eq!(state(&world), RolloutState::Completed);
}

#[test]
fn host_ports_and_start_first_get_along_where_there_is_room() {
    let mut world = World::with_nodes(3);
    let config = update(1, Order::StartFirst, FailureAction::Pause);
    let spec = |image| with(web(image, 2, &config), |spec| spec.template.container.ports.push(port(80)));
    apply(&mut world, spec("web:1"));
    world.settle();
    apply(&mut world, spec("web:2"));
    world.settle();
    assert_eq!(world.running_images("shop/web"), ["web:2"; 2]);
}

#[test]
fn a_pending_update_says_why_and_is_freed_by_a_newer_one() {
    let mut world = World::with_nodes(2);
    let config = update(1, Order::StartFirst, FailureAction::Pause);
    let spec = |image, memory| {
        with(web(image, 2, &config), |spec| spec.template.resources.reservations.memory = memory)
    };
    apply(&mut world, spec("web:1", 100));
    world.settle();
    apply(&mut world, spec("web:2", 5_000));
    world.settle();
    assert_eq!(state(&world), RolloutState::Updating);
    assert_eq!(&*world.service("shop/web").unplaced[&2], "2 of 2 nodes: not enough memory");
    assert_eq!(world.running_images("shop/web"), ["web:1"; 2]);
    apply(&mut world, spec("web:3", 200));
    world.settle();
    assert_eq!(world.running_images("shop/web"), ["web:3"; 2]);
    assert!(world.service("shop/web").unplaced.is_empty());
}

#[test]
fn a_global_service_is_updated_node_by_node_and_absent_nodes_follow() {
    for order in [Order::StopFirst, Order::StartFirst] {
        let mut world = World::with_nodes(3);
        let spec = |image| with(global(image), |spec| spec.update = update(1, order, FailureAction::Pause));
        apply(&mut world, spec("web:1"));
        world.settle();
        let (lost, cordoned) = (world.node(0), world.node(1));
        world.lose(lost);
        let availability = Availability::Cordoned;
        world.request(Command::SetAvailability { node: cordoned, availability }).unwrap();
        apply(&mut world, spec("web:2"));
        world.run_for(60_000);
        assert_eq!(state(&world), RolloutState::Completed);
        assert_eq!(world.running_images("shop/web"), ["web:1", "web:1", "web:2"]);
        world.bring_back(lost);
        let availability = Availability::Active;
        world.request(Command::SetAvailability { node: cordoned, availability }).unwrap();
        world.settle();
        assert_eq!(world.running_images("shop/web"), ["web:2"; 3]);
    }
}

#[test]
fn scaling_during_an_update_ends_well() {
    let mut world = World::with_nodes(2);
    let config = update(1, Order::StopFirst, FailureAction::Pause);
    apply(&mut world, web("web:1", 4, &config));
    world.settle();
    apply(&mut world, web("web:2", 4, &config));
    for replicas in [7, 2, 5] {
        for _ in 0..5 {
            world.round();
        }
        let replicas = vec![("shop/web".parse().unwrap(), replicas)];
        world.request(Command::ScaleServices { replicas }).unwrap();
    }
    world.settle();
    assert_eq!(world.running_images("shop/web"), ["web:2"; 5]);
    assert_eq!(state(&world), RolloutState::Completed);
}
