//! Random histories: whatever happens, what must hold holds after every step, and when the disturbances stop,
//! everything ends where people want it, and is quiet then.

mod action;
mod ending;

use crate::world::World;
use action::{Action, act, action, beginning};
use proptest::prelude::*;
use wharf_cluster::{command::Command, state::State};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_sound_and_ends_well(
        first in beginning(),
        actions in prop::collection::vec(action(), 1..120),
    ) {
        play(&first, &actions);
    }
}

fn play(first: &Action, actions: &[Action]) {
    let mut world = World::with_nodes(3);
    if actions.len().is_multiple_of(2) {
        world.limits.moves = 1;
        world.limits.creations = 2;
    }
    let mut kept: Vec<Command> = Vec::new();
    for action in std::iter::once(first).chain(actions) {
        act(&mut world, action, &mut kept);
    }
    ending::check(&mut world);
    assert_eq!(world.replica, world.state);
    let mut again = State::default();
    for envelope in &world.log {
        let _ = again.execute(envelope);
    }
    assert_eq!(again, world.state, "the log replays to the same state");
}
