//! What follows when tasks end.

use crate::world::{
    World,
    spec::{replicated, restart, with},
};
use wharf_cluster::{
    command::Command,
    ids::Timestamp,
    model::{DesiredState, RestartCondition, RestartPolicy, TaskState},
};

fn world_with(policy: RestartPolicy, image: &str) -> World {
    let mut world = World::with_nodes(2);
    let spec = with(replicated(image, 1), |spec| spec.template.restart = policy);
    world.apply("shop", vec![("web", spec)]).unwrap();
    world
}

/// Policy, image, and how many tasks there were after an hour.
#[test]
fn the_policy_decides_how_often() {
    let any = |delay, most| restart(RestartCondition::Any, delay, most);
    let on_failure = |delay, most| restart(RestartCondition::OnFailure, delay, most);
    let cases = [
        (restart(RestartCondition::None, 0, None), "bad:1", 1),
        (restart(RestartCondition::None, 0, None), "job:1", 1),
        (on_failure(0, None), "job:1", 1),
        (on_failure(0, Some(3)), "bad:1", 4),
        (any(1_000, Some(0)), "bad:1", 1),
        (any(1_000, Some(7)), "job:1", 8),
        (any(1_000, Some(7)), "bad:1", 8),
        // Each of the 8 in the window of an hour: the first ones are long past it, and yet no more follow.
        (RestartPolicy { window: 3_600_000, ..any(10_000, Some(7)) }, "bad:1", 8),
        (any(600_000, None), "bad:1", 8),
        // At most two in 20 s, one each 15 s: it goes on for ever.
        (RestartPolicy { window: 20_000, ..any(15_000, Some(2)) }, "bad:1", 242),
    ];
    for (policy, image, tasks) in cases {
        let mut world = world_with(policy.clone(), image);
        world.limits.history = 1_000;
        world.run_for(3_600_000);
        assert_eq!(world.tasks("shop/web").len(), tasks, "{policy:?} {image}");
        if tasks < 10 && policy.delay < 100_000 {
            world.run_for(24 * 3_600_000);
            assert_eq!(world.tasks("shop/web").len(), tasks, "{policy:?} {image}, a day later");
        }
    }
}

#[test]
fn the_successor_is_prepared_while_it_waits() {
    let mut world = world_with(restart(RestartCondition::Any, 5_000, None), "web:1");
    world.run_for(1_000);
    let id = world.running("shop/web")[0].id;
    let failed_at = world.now;
    for agent in world.agents.values_mut() {
        agent.fail(id, failed_at);
    }
    world.deliver();
    world.run_for(1_000);
    let waiting = world.tasks("shop/web").pop().unwrap();
    assert_eq!(waiting.desired, DesiredState::Ready);
    assert_eq!(waiting.status.state, TaskState::Ready, "it has its node, its image, its container");
    assert_eq!(waiting.hold_until, Some(failed_at.plus(5_000)));
    assert_eq!(world.agenda.next_wake(), waiting.hold_until);
    world.run_for(5_000);
    assert_eq!(world.running("shop/web")[0].id, waiting.id);
}

#[test]
fn history_is_bounded() {
    let mut world = world_with(restart(RestartCondition::Any, 1_000, None), "bad:1");
    world.run_for(100_000);
    let tasks = world.tasks("shop/web");
    assert_eq!(tasks.iter().filter(|task| task.is_final()).count(), world.limits.history);
}

#[test]
fn a_node_on_which_it_fails_again_and_again_is_avoided() {
    let mut world = World::with_nodes(2);
    let policy = restart(RestartCondition::Any, 1_000, None);
    let spec = with(replicated("bad:1", 1), |spec| spec.template.restart = policy);
    // The other node has more tasks: without failures it would never be chosen.
    world.apply("shop", vec![("web", spec)]).unwrap();
    let cordon = Command::SetAvailability {
        node: world.node(0),
        availability: wharf_cluster::model::Availability::Cordoned,
    };
    world.request(cordon).unwrap();
    world.apply("other", vec![("web", replicated("web:1", 3))]).unwrap();
    world.run_for(500);
    let activate = Command::SetAvailability {
        node: world.node(0),
        availability: wharf_cluster::model::Availability::Active,
    };
    world.request(activate).unwrap();
    world.run_for(30_000);
    let nodes: std::collections::BTreeSet<_> =
        world.tasks("shop/web").iter().filter_map(|task| task.node).collect();
    assert_eq!(nodes.len(), 2);
}

#[test]
fn losing_the_node_is_no_end_of_its_own() {
    for condition in [RestartCondition::None, RestartCondition::OnFailure, RestartCondition::Any] {
        let mut world = world_with(restart(condition, 60_000, Some(0)), "web:1");
        world.run_for(1_000);
        let node = world.running("shop/web")[0].node.unwrap();
        world.lose(node);
        world.run_for(1_000);
        assert_eq!(world.running("shop/web").len(), 1, "{condition:?}");
        let node = world.running("shop/web")[0].node.unwrap();
        world.bring_back(world.node(0));
        world.bring_back(world.node(1));
        world.propose(Command::RemoveNode { node, force: true }).unwrap();
        world.run_for(1_000);
        assert_eq!(world.running("shop/web").len(), 1, "{condition:?}, removed");
    }
}

#[test]
fn a_clock_behind_the_states_time_waits_for_nothing() {
    let mut world = world_with(restart(RestartCondition::Any, 5_000, None), "bad:1");
    world.run_for(1_000);
    let made = world.tasks("shop/web").len();
    // The next leader's clock is an hour behind; the state's time stands still until it catches up, and so do delays.
    world.now = Timestamp(world.now.0 - 500);
    world.orchestrate(&wharf_cluster::orchestrator::Scope::All);
    assert_eq!(world.tasks("shop/web").len(), made);
}
