//! The worker, with a runtime, images and a network that the test is in control of.

use std::time::Duration;

use wharf_cluster::model::TaskState;
use wharf_proto::v1::{BindMount, ContainerSpec, HealthCheck, Mount, Port, StringList, mount};
use wharf_runtime::api::ExecOutput;

use crate::support::fakes::{MISSING, Node};
use crate::support::real::{desired, task};
use crate::support::until;

fn plain(id: u64) -> wharf_proto::v1::AssignedTask {
    task(id, ContainerSpec { image: "web:1".into(), stop_grace_period: 7_000, ..ContainerSpec::default() })
}

fn with(id: u64, change: impl FnOnce(&mut ContainerSpec)) -> wharf_proto::v1::AssignedTask {
    let mut task = plain(id);
    change(task.container.as_mut().unwrap());
    task
}

fn healthy() -> ExecOutput {
    ExecOutput { code: Some(0), output: Vec::new() }
}

fn check(spec: &mut ContainerSpec) {
    spec.healthcheck = Some(HealthCheck {
        test: vec!["CMD".into(), "check".into()],
        interval: 50,
        timeout: 1_000,
        retries: 2,
        start_period: 0,
        start_interval: 50,
    });
}

#[tokio::test]
async fn a_task_waits_at_ready_until_it_is_wanted_to_run() {
    let node = Node::new().await;
    node.images.open.send_replace(false);
    let web = plain(1);
    node.assign(&[desired(&web, "ready")]).await;
    let status = node.reach(1, TaskState::Preparing).await;
    assert_eq!(status.message, "getting image web:1");
    node.images.open.send_replace(true);
    node.reach(1, TaskState::Ready).await;
    assert!(node.runtime.created.lock().is_empty());
    node.assign(std::slice::from_ref(&web)).await;
    let status = node.reach(1, TaskState::Running).await;
    assert_eq!((status.pid, status.message.as_str()), (Some(1000), ""));
    // Told again, it isn't started again; told less, it doesn't go back.
    node.assign(std::slice::from_ref(&web)).await;
    node.assign(&[desired(&web, "ready")]).await;
    node.assign(&[desired(&web, "shutdown")]).await;
    let status = node.reach(1, TaskState::Shutdown).await;
    assert_eq!(status.exit.unwrap().code, 143);
    assert_eq!(*node.runtime.stopped.lock(), [("1".to_owned(), libc::SIGTERM, Duration::from_secs(7))]);
    assert_eq!(node.runtime.created.lock().len(), 1);
    node.cleaned().await;
    node.assign(&[]).await;
    until("the task to be forgotten", || node.worker.states().is_empty()).await;
    assert!(node.status(1).is_none());
}

#[tokio::test]
async fn a_pull_is_given_up_when_its_task_is_told_to_stop() {
    let node = Node::new().await;
    node.images.open.send_replace(false);
    let web = plain(1);
    node.assign(std::slice::from_ref(&web)).await;
    node.reach(1, TaskState::Preparing).await;
    until("the pull", || node.images.open.receiver_count() > 0).await;
    node.assign(&[desired(&web, "shutdown")]).await;
    node.reach(1, TaskState::Shutdown).await;
    until("the end of the pull", || node.images.open.receiver_count() == 0).await;
    assert!(node.runtime.created.lock().is_empty());
}

#[tokio::test]
async fn what_a_task_ended_with_is_told() {
    let node = Node::new().await;
    node.assign(&[plain(1), plain(2), plain(3)]).await;
    for id in 1..=3 {
        node.reach(id, TaskState::Running).await;
    }
    node.runtime.end(1, 0);
    node.runtime.end(2, 9);
    assert_eq!(node.reach(1, TaskState::Complete).await.exit.unwrap().code, 0);
    let failed = node.reach(2, TaskState::Failed).await;
    assert_eq!((failed.message.as_str(), failed.exit.unwrap().code), ("exit code 9", 9));
    until("their containers to be cleaned", || node.runtime.running() == ["3"]).await;
    assert_eq!(node.status(3).unwrap().state, TaskState::Running);
}

#[tokio::test]
async fn failures_say_their_cause_and_leave_nothing() {
    let node = Node::new().await;
    let mount = Mount {
        target: "/x".into(),
        kind: Some(mount::Kind::Bind(BindMount { source: "/no/such/folder".into(), ..BindMount::default() })),
        ..Mount::default()
    };
    let cases = [
        (with(1, |spec| spec.image = "absent:1".into()), TaskState::Failed, "can't pull image absent:1"),
        (with(2, |spec| spec.image = "Not An Image".into()), TaskState::Rejected, "Not An Image"),
        (
            with(3, |spec| spec.ports = vec![Port { target: 80, published: Some(80), ..Port::default() }]),
            TaskState::Failed,
            "port 80/tcp of the node is taken by another program",
        ),
        (
            with(4, |spec| spec.command = Some(StringList { items: vec![MISSING.into()] })),
            TaskState::Failed,
            "exec: \"missing\"",
        ),
        (
            with(5, |spec| spec.runtime = Some("kata".into())),
            TaskState::Rejected,
            "this node has no runtime named \"kata\"; it has wharf, runc",
        ),
        (with(6, |spec| spec.mounts = vec![mount]), TaskState::Rejected, "/no/such/folder does not exist"),
        (with(7, |spec| spec.stop_signal = Some("SIGNOPE".into())), TaskState::Rejected, "stop_signal"),
        (with(8, |spec| spec.image = String::new()), TaskState::Rejected, "image: must not be empty"),
    ];
    let tasks: Vec<_> = cases.iter().map(|(task, _, _)| task.clone()).collect();
    node.assign(&tasks).await;
    for (id, (_, state, message)) in (1..).zip(&cases) {
        let status = node.reach(id, *state).await;
        assert!(status.message.contains(message), "{id}: {:?} has no {message:?}", status.message);
    }
    node.cleaned().await;
}

#[tokio::test]
async fn a_task_runs_once_its_check_passes_and_fails_when_it_does_not_any_more() {
    let node = Node::new().await;
    let mut web = plain(1);
    check(web.container.as_mut().unwrap());
    node.assign(&[web]).await;
    let status = node.reach(1, TaskState::Starting).await;
    assert_eq!(status.pid, Some(1000));
    *node.runtime.check.lock() = Some(healthy());
    node.reach(1, TaskState::Running).await;
    *node.runtime.check.lock() = None;
    let failed = node.reach(1, TaskState::Failed).await;
    assert_eq!(failed.message, "unhealthy: connection refused");
    assert_eq!(node.runtime.stopped.lock().len(), 1);
    node.cleaned().await;
}

#[tokio::test]
async fn a_container_that_never_gets_healthy_fails() {
    let node = Node::new().await;
    node.assign(&[with(1, check)]).await;
    let failed = node.reach(1, TaskState::Failed).await;
    assert_eq!(failed.message, "unhealthy: connection refused");
}

#[tokio::test]
async fn what_is_not_in_a_full_assignment_is_stopped_and_forgotten() {
    let node = Node::new().await;
    node.assign(&[plain(1), plain(2)]).await;
    node.reach(1, TaskState::Running).await;
    node.reach(2, TaskState::Running).await;
    node.assign(&[plain(2)]).await;
    until("the first to be forgotten", || node.worker.states().len() == 1).await;
    assert_eq!(node.runtime.running(), ["2"]);
    assert!(node.status(1).is_none());
    // Assigned anew, it is another beginning.
    node.assign(&[plain(1), plain(2)]).await;
    node.reach(1, TaskState::Running).await;
    assert_eq!(node.runtime.created.lock().len(), 3);
}

#[tokio::test]
async fn an_agent_without_memory_touches_nothing_until_it_is_told() {
    let node = Node::new().await;
    node.assign(&[plain(1), plain(2)]).await;
    for id in [1, 2] {
        node.reach(id, TaskState::Running).await;
    }
    let node = node.forgetting().await;
    assert_eq!(node.worker.states().len(), 2, "it sees them");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.runtime.running(), ["1", "2"]);
    node.assign(&[plain(1)]).await;
    node.reach(1, TaskState::Running).await;
    until("the other to be gone", || node.runtime.running() == ["1"]).await;
}

#[tokio::test]
async fn many_tasks_start_and_stop() {
    let node = Node::new().await;
    let all: Vec<_> = (1..=100).map(plain).collect();
    node.assign(&all).await;
    for id in 1..=100 {
        node.reach(id, TaskState::Running).await;
    }
    node.assign(&[]).await;
    until("all to be forgotten", || node.worker.states().is_empty()).await;
    node.cleaned().await;
}
