//! The agent's session, with controllers of the test's own.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use tokio::task::JoinHandle;
use wharf_agent::logs::Logs;
use wharf_agent::session::Session;
use wharf_cluster::model::TaskState;
use wharf_identity::{Authority, CredentialsCell, Dialer, Role};
use wharf_proto::v1::controller_message::Message;
use wharf_proto::v1::open_stream::What;
use wharf_proto::v1::stream_data::Data;
use wharf_proto::v1::{
    ContainerSpec, Controllers, LogsRequest, NodeDescription, OpenStream, Redirect, TaskLogs,
};

use crate::support::controller::{Answer, Controller, authority, credentials};
use crate::support::fakes::Node;
use crate::support::real::{desired, task};
use crate::support::{until, within};

/// An agent's session with these controllers, on a node of fakes.
struct Agent {
    node: Node,
    dialer: Dialer,
    session: JoinHandle<Infallible>,
}

impl Agent {
    async fn start(authority: &Arc<Authority>, controllers: &[&Controller]) -> Self {
        let node = Node::new().await;
        let addresses = controllers.iter().map(|controller| controller.address.clone()).collect();
        let cell = CredentialsCell::new(credentials(authority, Role::Agent, "2"));
        let dialer = Dialer::new(addresses, cell);
        let session = Session {
            worker: node.worker.clone(),
            reports: node.reports.clone(),
            dialer: dialer.clone(),
            store: node.store.clone(),
            description: NodeDescription { hostname: "node-1".into(), ..NodeDescription::default() },
            logs: Logs::new(node.worker.clone()),
        };
        Agent { node, dialer, session: tokio::spawn(session.run()) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.session.abort();
    }
}

fn web(id: u64) -> wharf_proto::v1::AssignedTask {
    task(id, ContainerSpec { image: "web:1".into(), ..ContainerSpec::default() })
}

#[tokio::test]
async fn tasks_are_assigned_run_and_reported() {
    let authority = authority();
    let controller = Controller::start(&authority).await;
    let agent = Agent::start(&authority, &[&controller]).await;
    let mut session = controller.session().await;
    assert_eq!(session.hello.description.as_ref().unwrap().hostname, "node-1");
    assert_eq!(session.hello.held, None);
    session.welcome(3, 1).await;
    session.full(vec![web(1)]).await;
    let report = session.until_state("1", "running").await;
    assert_eq!(report.pid, Some(1000));
    assert_eq!(session.heartbeat().await, 1);
    session.difference(vec![web(2), desired(&web(1), "shutdown")], &[]).await;
    session.until_state("1", "shutdown").await;
    assert_eq!(agent.node.worker.held(), session_generation(3, 1, 2));
    session.difference(Vec::new(), &["1"]).await;
    until("the first to be forgotten", || {
        !agent.node.worker.states().contains_key(&wharf_cluster::ids::TaskId(1))
    })
    .await;
}

fn session_generation(term: u64, session: u64, sequence: u64) -> wharf_proto::v1::Generation {
    wharf_proto::v1::Generation { term, session, sequence }
}

#[tokio::test]
async fn what_was_not_taken_is_told_again_in_the_next_session() {
    let authority = authority();
    let controller = Controller::start(&authority).await;
    let agent = Agent::start(&authority, &[&controller]).await;
    let mut session = controller.session().await;
    session.welcome(1, 1).await;
    session.full(vec![web(1)]).await;
    // Never acknowledged: nothing more is reported until it is.
    let (sequence, reports) = session.reports().await;
    assert_eq!((sequence, reports[0].task.as_str()), (1, "1"));
    agent.node.reach(1, TaskState::Running).await;
    drop(session);
    let mut session = controller.session().await;
    assert_eq!(session.hello.held, Some(session_generation(1, 1, 1)));
    session.welcome(1, 2).await;
    let (sequence, reports) = session.reports().await;
    assert_eq!((sequence, reports.len(), reports[0].state.as_str()), (1, 1, "running"));
    session.taken(1).await;
    session.full(vec![web(1)]).await;
    assert_eq!(agent.node.runtime.created.lock().len(), 1, "it was not started again");
}

#[tokio::test]
async fn a_gap_begins_a_new_session_and_a_deposed_leader_moves_nothing() {
    let authority = authority();
    let controller = Controller::start(&authority).await;
    let agent = Agent::start(&authority, &[&controller]).await;
    let mut session = controller.session().await;
    session.welcome(5, 1).await;
    session.full(vec![web(1)]).await;
    session.until_state("1", "running").await;
    session.next();
    session.difference(Vec::new(), &["1"]).await;
    session.ended().await;

    let mut deposed = controller.session().await;
    deposed.welcome(4, 9).await;
    deposed.full(Vec::new()).await;
    deposed.ended().await;

    let mut session = controller.session().await;
    session.welcome(6, 1).await;
    // Nothing of a session that isn't this one.
    let stray =
        wharf_proto::v1::AssignmentFull { generation: Some(session_generation(5, 1, 99)), tasks: Vec::new() };
    session.say(Message::Full(stray)).await;
    session.ended().await;
    assert_eq!(agent.node.status(1).unwrap().state, TaskState::Running);
    assert_eq!(agent.node.worker.held(), session_generation(5, 1, 1));
}

#[tokio::test]
async fn redirects_are_followed_and_another_controller_is_found_when_one_dies() {
    let authority = authority();
    let (first, second) = (Controller::start(&authority).await, Controller::start(&authority).await);
    let agent = Agent::start(&authority, &[&first]).await;
    let session = first.session().await;
    session.say(Message::Redirect(Redirect { leader: second.address.clone() })).await;
    let mut session = second.session().await;
    session.welcome(1, 1).await;
    let addresses = vec![first.address.clone(), second.address.clone()];
    session.say(Message::Controllers(Controllers { addresses: addresses.clone() })).await;
    session.full(vec![web(1)]).await;
    session.until_state("1", "running").await;
    assert_eq!(agent.node.store.controllers().unwrap(), addresses);
    drop((session, second));
    let mut session = first.session().await;
    session.welcome(2, 1).await;
    session.full(vec![web(1)]).await;
    session.until_state("1", "running").await;
    assert_eq!(agent.dialer.addresses()[0], first.address);
}

#[tokio::test]
async fn without_any_controller_tasks_go_on_and_what_ended_meanwhile_is_told() {
    let authority = authority();
    let controller = Controller::start(&authority).await;
    let agent = Agent::start(&authority, &[&controller]).await;
    let mut session = controller.session().await;
    session.welcome(1, 1).await;
    session.full(vec![web(1), web(2)]).await;
    session.until_state("1", "running").await;
    agent.node.reach(2, TaskState::Running).await;
    drop((session, controller));
    agent.node.runtime.end(2, 4);
    agent.node.reach(2, TaskState::Failed).await;
    assert_eq!(agent.node.runtime.running(), ["1"]);
    let controller = Controller::start(&authority).await;
    agent.dialer.set_addresses(vec![controller.address.clone()]);
    let mut session = controller.session().await;
    session.welcome(2, 1).await;
    let (_, reports) = session.reports().await;
    let told: Vec<_> = reports.iter().map(|r| (r.task.as_str(), r.state.as_str(), r.exit_code)).collect();
    assert_eq!(told, [("1", "running", None), ("2", "failed", Some(4))]);
}

fn write_log(node: &Node, task: &str, lines: std::ops::Range<u32>) {
    let folder = node.dir.path().join("logs").join(task);
    std::fs::create_dir_all(&folder).unwrap();
    let mut file = std::fs::File::options().append(true).create(true).open(folder.join("json.log")).unwrap();
    for n in lines {
        let time = format!("2026-01-02T03:04:{:02}.5Z", n % 60);
        writeln!(file, "{{\"log\":\"line {n}\\n\",\"stream\":\"stderr\",\"time\":\"{time}\"}}").unwrap();
    }
}

async fn lines(answer: &mut Answer, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        match within("a line", answer.inbound.message()).await.unwrap().unwrap().data.unwrap() {
            Data::Log(log) => {
                assert_eq!((log.node.as_str(), log.stream.as_str()), ("node-1", "stderr"));
                all.push(format!("{} {}", log.task, String::from_utf8_lossy(&log.line)));
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    all
}

#[tokio::test]
async fn logs_are_sent_when_they_are_asked_for() {
    let authority = authority();
    let controller = Controller::start(&authority).await;
    let agent = Agent::start(&authority, &[&controller]).await;
    let mut session = controller.session().await;
    session.welcome(1, 1).await;
    session.full(vec![web(1)]).await;
    session.until_state("1", "running").await;
    write_log(&agent.node, "1", 0..30);
    let ask = |task: &str, options: LogsRequest| {
        let logs = TaskLogs { task: task.into(), options: Some(options) };
        Message::OpenStream(OpenStream { stream_id: "s".into(), what: Some(What::Logs(logs)) })
    };
    let named = |answer: Option<Data>| assert_eq!(answer, Some(Data::StreamId("s".into())));

    session.say(ask("1", LogsRequest { tail: Some(2), ..LogsRequest::default() })).await;
    let mut answer = controller.answer().await;
    named(answer.inbound.message().await.unwrap().unwrap().data);
    assert_eq!(lines(&mut answer, 2).await, ["shop/web.1 line 28", "shop/web.1 line 29"]);
    assert!(within("the end", answer.inbound.message()).await.unwrap().is_none());

    let since = 1_767_323_045_000 + 27_000 - 5_000 + 500;
    session.say(ask("shop/web.1", LogsRequest { since, follow: true, ..LogsRequest::default() })).await;
    let mut answer = controller.answer().await;
    named(answer.inbound.message().await.unwrap().unwrap().data);
    assert_eq!(lines(&mut answer, 3).await.len(), 3);
    write_log(&agent.node, "1", 30..31);
    assert_eq!(lines(&mut answer, 1).await, ["shop/web.1 line 30"]);
    // It ends with the task.
    agent.node.runtime.end(1, 0);
    assert!(within("the end", answer.inbound.message()).await.unwrap().is_none());

    session.say(ask("99", LogsRequest::default())).await;
    let mut answer = controller.answer().await;
    named(answer.inbound.message().await.unwrap().unwrap().data);
    let said = within("an error", answer.inbound.message()).await.unwrap().unwrap().data;
    assert_eq!(said, Some(Data::Error("task 99 is not on this node".into())));
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_has_had_enough() {
    let authority = authority();
    let controller = Controller::start(&authority).await;
    let agent = Agent::start(&authority, &[&controller]).await;
    let mut session = controller.session().await;
    session.welcome(1, 1).await;
    session.full(vec![web(1)]).await;
    session.until_state("1", "running").await;
    write_log(&agent.node, "1", 0..5);
    let logs =
        TaskLogs { task: "1".into(), options: Some(LogsRequest { follow: true, ..LogsRequest::default() }) };
    let open = OpenStream { stream_id: "s".into(), what: Some(What::Logs(logs)) };
    session.say(Message::OpenStream(open)).await;
    let mut answer = controller.answer().await;
    answer.inbound.message().await.unwrap();
    lines(&mut answer, 5).await;
    drop(answer.outbound);
    let end = async { while let Ok(Some(_)) = answer.inbound.message().await {} };
    within("the stream's end", end).await;
}
