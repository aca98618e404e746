//! Awkward histories that must end well all the same.

use crate::world::{
    World,
    spec::{replicated, with},
};
use wharf_cluster::{
    command::{Command, NewTask},
    ids::TaskId,
    model::{DesiredState, Slot},
    orchestrator::{Scope, reconcile},
};

#[test]
fn a_leader_lost_between_two_commands_leaves_no_hole() {
    // After each prefix of a plan the leader is lost; its follower goes on.
    for cut in 0..3 {
        let mut world = World::with_nodes(3);
        world.apply("shop", vec![("web", replicated("web:1", 4))]).unwrap();
        world.settle();
        let lost = world.node(1);
        world.lose(lost);
        let plan = reconcile(&world.state, &Scope::All, world.now, &world.limits);
        for command in plan.commands.into_iter().take(cut) {
            world.propose(command).unwrap();
        }
        world.agenda = wharf_cluster::orchestrator::Agenda::everything();
        world.run_for(60_000);
        assert_eq!(world.running("shop/web").len(), 4, "cut after {cut}");
    }
}

#[test]
fn tasks_made_on_an_old_view_are_taken_back() {
    let mut world = World::with_nodes(2);
    world.apply("shop", vec![("web", replicated("web:1", 2))]).unwrap();
    world.settle();
    let service = world.service("shop/web").id;
    let tasks = (1..=5)
        .map(|number| NewTask {
            service,
            slot: Slot::Replica(number),
            template: 1,
            desired: DesiredState::Running,
            hold_until: None,
        })
        .collect();
    world.propose(Command::CreateTasks { tasks }).unwrap();
    world.propose(Command::SetDesired { tasks: vec![(TaskId(9_999), DesiredState::Remove)] }).unwrap();
    world.settle();
    assert_eq!(world.running_slots("shop/web"), [1, 2]);
    assert_eq!(world.tasks("shop/web").len(), 2);
}

#[test]
fn the_log_replays_to_the_same_state() {
    let mut world = World::with_nodes(3);
    world
        .apply(
            "shop",
            vec![("web", with(replicated("bad:1", 4), |spec| spec.template.restart.delay = 1_000))],
        )
        .unwrap();
    world.run_for(10_000);
    world.apply("shop", vec![("web", replicated("web:2", 4))]).unwrap();
    world.restore_replica();
    world.settle();
    let mut again = wharf_cluster::state::State::default();
    for envelope in &world.log {
        let _ = again.execute(envelope);
    }
    assert_eq!(again, world.state);
    assert_eq!(world.replica, world.state);
}
