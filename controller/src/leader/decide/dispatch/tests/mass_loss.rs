//! Many nodes that vanish at once.

use super::*;

fn message(host: &Host, node: NodeId) -> String {
    host.state.node(node).unwrap().status.message.clone()
}

#[test]
fn many_nodes_that_vanish_at_once_are_not_given_up() {
    let (mut host, nodes) = Host::new(10);
    let (lost, left) = nodes.split_at(4);
    host.pass(seconds(20), left);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (4, 0));
    let said = message(&host, lost[3]);
    assert!(said.contains("wharf node down n3") && said.contains("of 10 nodes"), "{said}");
    let told = host.state.history().iter().filter(|record| &*record.action == "unknown").count();
    assert_eq!(told, 4);
    // They come back: on the sessions that they have, or on new ones.
    host.dispatch.close(host.key(lost[0]));
    host.pass(seconds(1), &nodes);
    assert_eq!(host.count(NodeState::Ready), 10);
}

#[test]
fn one_node_is_given_up_even_of_two() {
    for count in [1, 2, 3] {
        let (mut host, nodes) = Host::new(count);
        host.pass(seconds(6), &nodes[1..]);
        assert!(host.is(nodes[0], NodeState::Down), "of {count}");
        assert_eq!(host.count(NodeState::Ready), count - 1);
    }
}

#[test]
fn a_third_or_less_is_given_up() {
    let (mut host, nodes) = Host::new(9);
    host.pass(seconds(6), &nodes[3..]);
    assert_eq!(host.count(NodeState::Down), 3);
}

#[test]
fn nodes_that_vanish_one_after_the_other_within_a_period_vanish_at_once() {
    let (mut host, nodes) = Host::new(6);
    for lost in 1..4 {
        host.pass(Duration::from_millis(1500), &nodes[lost..]);
    }
    host.pass(seconds(20), &nodes[3..]);
    assert!(host.count(NodeState::Unknown) > 0 && host.count(NodeState::Down) <= 2);
    // Far apart, each is lost for itself.
    let (mut host, nodes) = Host::new(6);
    for lost in 1..4 {
        host.pass(seconds(12), &nodes[lost..]);
    }
    assert_eq!(host.count(NodeState::Down), 3);
}

#[test]
fn when_nothing_changes_they_are_given_up_a_few_at_a_time() {
    let (mut host, nodes) = Host::new(40);
    let (_, left) = nodes.split_at(25);
    host.pass(seconds(60), left);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (25, 0));
    host.pass(seconds(6), left);
    let given_up = host.count(NodeState::Down);
    assert!(given_up > 0 && given_up <= 20, "{given_up}");
    host.pass(seconds(5), left);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (0, 25));
    // It is over: the next one that is lost is lost for itself.
    host.pass(seconds(6), &left[1..]);
    assert_eq!(host.count(NodeState::Down), 26);
}

#[test]
fn while_nodes_come_back_the_others_get_time() {
    let (mut host, nodes) = Host::new(10);
    host.pass(seconds(50), &nodes[6..]);
    host.pass(seconds(50), &nodes[5..]);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (5, 0));
    // So few are left that it is no mass any more: they get their time once more, and then they are lost.
    host.pass(seconds(4), &nodes[2..]);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (2, 0));
    host.pass(seconds(3), &nodes[2..]);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (0, 2));
}

#[test]
fn one_that_is_not_held_any_more_is_ready_when_it_speaks() {
    let (mut host, nodes) = Host::new(4);
    host.pass(seconds(10), &nodes[2..]);
    host.pass(seconds(1), &nodes[1..]);
    assert_eq!((host.count(NodeState::Ready), host.count(NodeState::Unknown)), (3, 1));
    host.pass(seconds(1), &nodes);
    assert_eq!(host.count(NodeState::Ready), 4);
}

#[test]
fn a_new_leader_brakes_again() {
    let (mut host, nodes) = Host::new(10);
    host.pass(seconds(50), &nodes[6..]);
    host.elect(2);
    host.pass(seconds(50), &nodes[6..]);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (6, 0));
    host.pass(seconds(20), &nodes[6..]);
    assert_eq!(host.count(NodeState::Down), 6);
}

#[test]
fn people_say_which_are_lost() {
    let (mut host, nodes) = Host::new(10);
    host.pass(seconds(10), &nodes[5..]);
    assert!(!host.dispatch.is_answering(nodes[0], host.now));
    assert!(host.dispatch.is_answering(nodes[9], host.now));
    let lost: Vec<_> = nodes[..2].iter().map(|node| (*node, NodeState::Down, "told".to_owned())).collect();
    let keys = [host.key(nodes[0]), host.key(nodes[1])];
    let _ = host.dispatch.stirred();
    host.execute(Command::SetNodeStates { nodes: lost });
    assert_eq!(host.dispatch.stirred().ended, keys.map(|key| (key, Ending::Silent)));
    host.pass(seconds(2), &nodes[5..]);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (3, 2));
    // One of them was not lost after all.
    host.pass(seconds(1), &[&nodes[..1], &nodes[5..]].concat());
    assert!(host.is(nodes[0], NodeState::Ready));
}

#[test]
fn the_time_in_which_the_controller_was_stopped_settles_nothing() {
    let (mut host, nodes) = Host::new(10);
    host.pass(seconds(10), &nodes[5..]);
    host.now += seconds(600);
    host.settle();
    host.pass(seconds(50), &nodes[5..]);
    assert_eq!((host.count(NodeState::Unknown), host.count(NodeState::Down)), (5, 0));
}

#[test]
fn no_node_at_all_is_a_mass_too() {
    let (mut host, nodes) = Host::new(3);
    host.pass(seconds(30), &[]);
    assert_eq!(host.count(NodeState::Unknown), 3);
    host.pass(seconds(1), &nodes);
    assert_eq!(host.count(NodeState::Ready), 3);
}
