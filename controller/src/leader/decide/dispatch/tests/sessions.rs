//! What is said in sessions.

use super::*;
use wharf_cluster::model::TaskState;
use wharf_proto::v1::{OpenStream, ReportsTaken};

fn kinds(messages: &[Message]) -> Vec<&'static str> {
    let kind = |message: &Message| match message {
        Message::Welcome(_) => "welcome",
        Message::Controllers(_) => "controllers",
        Message::Full(_) => "full",
        Message::Difference(_) => "difference",
        Message::ReportsTaken(_) => "taken",
        Message::HeartbeatTaken(_) => "heartbeat",
        Message::OpenStream(_) => "open",
        Message::Redirect(_) => "redirect",
        Message::Pace(_) => "pace",
    };
    messages.iter().map(kind).collect()
}

#[test]
fn a_session_begins_with_everything_and_goes_on_with_differences() {
    let (mut host, nodes) = Host::new(2);
    let first = host.outgoing(nodes[0]);
    assert_eq!(kinds(&first), ["welcome", "controllers", "full"]);
    let Message::Welcome(welcome) = &first[0] else { panic!("{first:?}") };
    assert_eq!((welcome.term, welcome.session, welcome.node_name.as_str()), (1, 1, "n0"));
    assert!(welcome.heartbeat >= 800 && welcome.heartbeat <= 1000 && welcome.ttl == 5000);
    assert_eq!(host.outgoing(nodes[0]), []);

    host.dispatch.stirred();
    let task = host.place(nodes[0]);
    let stirred = host.dispatch.stirred();
    assert_eq!((stirred.awake, stirred.propose), (vec![host.key(nodes[0])], false));
    assert_eq!(kinds(&host.outgoing(nodes[0])), ["difference"]);
    host.beat(nodes[0]);
    assert_eq!(kinds(&host.outgoing(nodes[0])), ["heartbeat"]);

    // What an agent reports is no news to it.
    host.report(nodes[0], 1, task, "running");
    host.settle();
    assert_eq!(kinds(&host.outgoing(nodes[0])), ["taken"]);
    assert_eq!(host.state.task(task).unwrap().status.state, TaskState::Running);

    host.dispatch.observe_everything(&host.state);
    assert_eq!(kinds(&host.outgoing(nodes[0])), ["full"]);
}

#[test]
fn reports_are_acknowledged_when_they_are_committed_and_not_before() {
    let (mut host, nodes) = Host::new(2);
    let tasks = [host.place(nodes[0]), host.place(nodes[1])];
    nodes.iter().for_each(|node| drop(host.outgoing(*node)));
    host.report(nodes[0], 7, tasks[0], "running");
    assert!(host.dispatch.stirred().propose);
    let first = host.dispatch.proposals(&host.state, host.now);
    assert_eq!(first.len(), 1);
    // While one batch is under way, the next one fills.
    host.report(nodes[0], 8, tasks[0], "failed");
    host.report(nodes[1], 3, tasks[1], "running");
    assert!(!host.dispatch.stirred().propose);
    assert_eq!(host.dispatch.proposals(&host.state, host.now), []);
    assert_eq!(host.outgoing(nodes[0]), []);

    for command in first[0].commands.clone() {
        host.execute(command);
    }
    host.dispatch.applied(first[0].ticket);
    assert_eq!(host.outgoing(nodes[0]), [Message::ReportsTaken(ReportsTaken { sequence: 7 })]);
    let second = host.dispatch.proposals(&host.state, host.now);
    let [Proposal { ticket: Ticket::Reports, commands }] = &second[..] else { panic!("{second:?}") };
    assert!(matches!(&commands[..], [Command::ReportTasks { reports }] if reports.len() == 2));
    // Whoever has begun another session repeats its reports: what the former sent is not acknowledged in it.
    host.open(nodes[1]).unwrap();
    host.outgoing(nodes[1]);
    host.dispatch.applied(Ticket::Reports);
    assert_eq!(host.outgoing(nodes[1]), []);
    assert_eq!(kinds(&host.outgoing(nodes[0])), ["taken"]);
}

#[test]
fn a_node_has_one_session_and_an_ended_one_is_not_listened_to() {
    let (mut host, nodes) = Host::new(2);
    let old = host.key(nodes[0]);
    host.dispatch.stirred();
    let new = host.open(nodes[0]).unwrap();
    assert!(new.number > old.number);
    assert_eq!(host.dispatch.stirred().ended, [(old, Ending::Replaced)]);
    let task = host.place(nodes[0]);
    let report = v1::TaskReport { task: task.to_string(), state: "failed".to_owned(), ..Default::default() };
    let reports = TaskReports { sequence: 1, reports: vec![report] };
    host.dispatch.hear(old, agent_message::Message::Reports(reports), host.now).unwrap();
    host.settle();
    assert_eq!(host.state.task(task).unwrap().status.state, TaskState::Assigned);
    assert_eq!(host.dispatch.outgoing(old, &host.state), []);
    host.dispatch.close(old);
    assert!(host.dispatch.is_open(new) && !host.dispatch.is_open(old));
}

#[test]
fn whoever_may_not_have_a_session_is_told_why() {
    let (mut host, nodes) = Host::new(1);
    let followed = Hello { description: Some(host.describe(nodes[0])), held: held(9) };
    assert_eq!(host.open_with(nodes[0], followed), Err(Refusal::Deposed));
    assert!(matches!(host.open_with(nodes[0], Hello::default()), Err(Refusal::Invalid(_))));
    let key = host.key(nodes[0]);
    let again = agent_message::Message::Hello(Hello::default());
    assert!(matches!(host.dispatch.hear(key, again, host.now), Err(Refusal::Invalid(_))));
    assert_eq!(host.open(NodeId(77)), Err(Refusal::Removed(NodeId(77))));

    host.remove(nodes[0]);
    assert_eq!(host.dispatch.stirred().ended, [(key, Ending::Removed)]);
    assert!(matches!(host.open(nodes[0]), Err(Refusal::Removed(_))));
}

#[test]
fn a_deposed_leader_ends_its_sessions_and_takes_no_more() {
    let (mut host, nodes) = Host::new(2);
    host.dispatch.stirred();
    assert_eq!(host.dispatch.end(), 2);
    let ended = host.dispatch.stirred().ended;
    assert_eq!(ended.iter().map(|(_, why)| *why).collect::<Vec<_>>(), [Ending::Deposed; 2]);
    assert_eq!(host.open(nodes[0]), Err(Refusal::Deposed));
    // The same term's loops begin anew: no number comes twice.
    host.dispatch = Dispatch::new(1, 2, TIMINGS, &host.state, host.now);
    assert_eq!(host.open(nodes[0]).unwrap().number, 3);
}

#[test]
fn an_agent_is_asked_for_a_bounded_number_of_streams() {
    let (mut host, nodes) = Host::new(1);
    let stream = OpenStream { stream_id: "s".to_owned(), what: None };
    assert_eq!(host.dispatch.ask(NodeId(77), stream.clone()), Err(Unasked::NoSession));
    let asked = (0..1000).take_while(|_| host.dispatch.ask(nodes[0], stream.clone()).is_ok()).count();
    assert!(asked > 0 && asked < 1000);
    assert_eq!(host.dispatch.ask(nodes[0], stream.clone()), Err(Unasked::Busy));
    host.outgoing(nodes[0]);
    assert!(host.dispatch.ask(nodes[0], stream).is_ok());
}

#[test]
fn agents_wait_when_too_many_reports_do() {
    let (mut host, nodes) = Host::new(1);
    let report = v1::TaskReport { task: "1".to_owned(), state: "running".to_owned(), ..Default::default() };
    let mut sequence = 0;
    while host.dispatch.has_room() {
        sequence += 1;
        let reports = TaskReports { sequence, reports: vec![report.clone(); 1000] };
        host.dispatch.hear(host.key(nodes[0]), agent_message::Message::Reports(reports), host.now).unwrap();
    }
    assert!(sequence > 10 && sequence < 1000);
    host.settle();
    assert!(host.dispatch.has_room());
}

#[test]
fn what_changed_of_a_machine_is_recorded() {
    let (mut host, nodes) = Host::new(1);
    assert!(!host.dispatch.stirred().propose);
    let said = v1::NodeDescription { memory: 5, ..host.describe(nodes[0]) };
    host.dispatch.hear(host.key(nodes[0]), agent_message::Message::Description(said), host.now).unwrap();
    assert!(host.dispatch.stirred().propose);
    host.settle();
    assert_eq!(host.state.node(nodes[0]).unwrap().description.memory, 5);
}
