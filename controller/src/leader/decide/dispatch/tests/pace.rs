//! How often agents send heartbeats, in a cluster that grows and shrinks.

use super::*;
use wharf_proto::v1::Pace;

fn paces(messages: &[Message]) -> Vec<Pace> {
    let pace = |message: &Message| match message {
        Message::Pace(pace) => Some(*pace),
        _ => None,
    };
    messages.iter().filter_map(pace).collect()
}

#[test]
fn agents_in_running_sessions_learn_that_heartbeats_have_another_period() {
    let (mut host, nodes) = Host::new(2);
    host.outgoing(nodes[0]);
    let more: Vec<NodeId> = (2..1001).map(|number| host.register(&format!("n{number}"))).collect();
    let [pace] = paces(&host.outgoing(nodes[0]))[..] else { panic!("not once") };
    assert!(pace.ttl == 10_000 && pace.heartbeat >= 1600 && pace.heartbeat <= 2000);
    // One that has not read its welcome yet learns it from that.
    assert_eq!(paces(&host.outgoing(nodes[1])), []);

    let beat = |interval| agent_message::Message::Heartbeat(Heartbeat { sequence: 0, interval });
    for node in &nodes {
        host.dispatch.hear(host.key(*node), beat(pace.heartbeat), host.now).unwrap();
    }
    host.remove(more[0]);
    let [pace] = paces(&host.outgoing(nodes[0]))[..] else { panic!("not once") };
    assert_eq!(pace.ttl, 5000);
}

#[test]
fn an_agent_that_has_not_learned_of_a_shorter_period_yet_is_waited_for() {
    let (mut host, nodes) = Host::new(3);
    let slow = agent_message::Message::Heartbeat(Heartbeat { sequence: 0, interval: 4000 });
    host.dispatch.hear(host.key(nodes[0]), slow, host.now).unwrap();
    host.pass(seconds(19), &nodes[1..]);
    assert_eq!(host.count(NodeState::Ready), 3);
    host.pass(seconds(2), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Down));
    // Nobody may be silent for ever by saying so.
    host.open(nodes[0]).unwrap();
    let absurd = agent_message::Message::Heartbeat(Heartbeat { sequence: 0, interval: u64::MAX });
    host.dispatch.hear(host.key(nodes[0]), absurd, host.now).unwrap();
    host.pass(seconds(301), &nodes[1..]);
    assert!(host.is(nodes[0], NodeState::Down));
}
