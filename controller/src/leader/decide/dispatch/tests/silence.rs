//! When silence becomes a verdict.

use super::*;

#[test]
fn a_node_is_lost_after_several_missed_heartbeats() {
    let (mut host, nodes) = Host::new(4);
    host.pass(seconds(4), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Ready));
    host.pass(seconds(2), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Down));
    let message = &host.state.node(nodes[0]).unwrap().status.message;
    assert!(message.starts_with("no heartbeat for 5."), "{message}");
    assert_eq!(host.count(NodeState::Ready), 3);
    // It comes back.
    host.pass(seconds(1), &nodes);
    assert_eq!(host.count(NodeState::Ready), 4);
}

#[test]
fn a_session_that_ends_is_no_verdict() {
    let (mut host, nodes) = Host::new(4);
    host.dispatch.close(host.key(nodes[0]));
    host.pass(seconds(4), &nodes[1..]);
    assert_eq!(host.count(NodeState::Ready), 4);
    host.pass(seconds(2), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Down));
}

#[test]
fn a_new_leader_gives_every_node_its_full_time() {
    let (mut host, nodes) = Host::new(4);
    host.pass(seconds(4), &nodes[1..]);
    host.elect(2);
    host.pass(seconds(4), &nodes[1..]);
    assert_eq!(host.count(NodeState::Ready), 4);
    host.pass(seconds(2), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Down));
    // One that is known to be down is not expected, and none is given up twice.
    host.elect(3);
    host.pass(seconds(20), &nodes[1..]);
    assert_eq!(host.count(NodeState::Ready), 3);
}

#[test]
fn a_controller_that_was_not_there_to_listen_gives_no_verdict() {
    let (mut host, nodes) = Host::new(4);
    host.pass(seconds(3), &nodes);
    // Stopped for a minute; heartbeats that came meanwhile are read only after it has looked.
    host.now += seconds(60);
    host.settle();
    assert_eq!(host.count(NodeState::Ready), 4);
    host.pass(seconds(10), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Down));
    assert_eq!(host.count(NodeState::Ready), 3);
}

#[test]
fn it_asks_to_be_called_before_anybodys_time_is_up() {
    let (mut host, nodes) = Host::new(2);
    for _ in 0..100 {
        let deadline = host.dispatch.next_deadline();
        assert!(deadline > host.now && deadline <= host.now + TIMINGS.heartbeat);
        host.now = deadline;
        host.beat(nodes[1]);
        host.settle();
    }
    assert!(host.is(nodes[0], NodeState::Down) && host.is(nodes[1], NodeState::Ready));
}

#[test]
fn a_node_that_speaks_again_while_it_is_given_up_is_ready_in_the_end() {
    let (mut host, nodes) = Host::new(4);
    host.pass(seconds(4), &nodes[1..]);
    host.now += seconds(1);
    let [verdict] = &host.dispatch.proposals(&host.state, host.now)[..] else { panic!("no verdict") };
    assert!(matches!(&verdict.commands[..], [Command::SetNodeStates { nodes }] if nodes.len() == 1));
    host.beat(nodes[0]);
    assert_eq!(host.dispatch.proposals(&host.state, host.now), []);
    for command in verdict.commands.clone() {
        host.execute(command);
    }
    assert!(host.is(nodes[0], NodeState::Down));
    host.dispatch.applied(verdict.ticket);
    host.settle();
    assert!(host.is(nodes[0], NodeState::Ready));
}
