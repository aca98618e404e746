//! Agents' sessions: what they are told, and when their nodes are down.

use crate::{
    agent::{Agent, Mood},
    harness::{Cluster, apply, eventually, nodes, of_kind, request_id, running, shop, tasks},
};
use std::time::Duration;
use wharf_proto::v1::{GetRequest, Kind, ScaleServicesRequest, SetAvailabilityRequest};

async fn state_of(cluster: &Cluster, node: &str) -> String {
    let mut client = cluster.any_client().await;
    let nodes = nodes(&mut client).await.unwrap();
    nodes.into_iter().find(|known| known.name == node).unwrap().state
}

async fn wait_for_state(cluster: &Cluster, node: &str, state: &str) {
    eventually(state, || async { (state_of(cluster, node).await == state).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_gets_everything_first_and_differences_then() {
    let cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    wait_for_state(&cluster, "one", "ready").await;
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(2)).await.unwrap();
    running(&client, 2).await;
    {
        let seen = agent.seen.lock();
        assert_eq!((seen.full, seen.held.len()), (1, 2));
        assert!(seen.differences >= 1);
        assert_eq!(seen.controllers, [cluster.address(0)]);
    }
    agent.wait("acknowledged reports", |seen| seen.taken > 0).await;

    // Back after a while, it gets everything again, in a newer session.
    agent.behave(Mood::Gone);
    let scale =
        ScaleServicesRequest { request_id: request_id(), replicas: [("shop/web".to_owned(), 3)].into() };
    client.scale_services(scale).await.unwrap();
    agent.behave(Mood::Willing);
    agent.wait("a second session", |seen| seen.full == 2 && seen.held.len() == 3).await;
    running(&client, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_down_and_its_tasks_run_elsewhere() {
    let cluster = Cluster::start(1).await;
    let one = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(3)).await.unwrap();
    running(&client, 3).await;
    let two = Agent::start(&cluster, "two").await;

    // It holds its session and says nothing.
    one.behave(Mood::Silent);
    wait_for_state(&cluster, "one", "down").await;
    eventually("tasks elsewhere", || async {
        let mut client = client.clone();
        let on_two = GetRequest { node: "two".to_owned(), ..GetRequest::default() };
        let there = tasks(&mut client, on_two).await.ok()?;
        (there.iter().filter(|task| task.state == "running").count() == 3).then_some(())
    })
    .await;

    // It comes back, and stops what runs elsewhere now.
    one.behave(Mood::Willing);
    wait_for_state(&cluster, "one", "ready").await;
    one.wait("the surplus stops", |seen| seen.held.values().all(|task| task.desired != "running")).await;
    assert_eq!(two.seen.lock().held.values().filter(|task| task.desired == "running").count(), 3);
    running(&client, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_is_no_verdict() {
    let cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    wait_for_state(&cluster, "one", "ready").await;
    for round in 2..5 {
        agent.behave(Mood::Gone);
        tokio::time::sleep(Duration::from_millis(100)).await;
        agent.behave(Mood::Willing);
        agent.wait("another session", |seen| seen.sessions >= round).await;
        assert_eq!(state_of(&cluster, "one").await, "ready");
    }
    let mut client = cluster.client(0).await;
    let events = client.get(of_kind(Kind::Event)).await.unwrap().into_inner().objects;
    let down = events.iter().filter(|event| format!("{event:?}").contains("\"down\"")).count();
    assert_eq!(down, 0, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_gives_every_node_its_time() {
    let mut cluster = Cluster::start(3).await;
    let agent = Agent::start(&cluster, "one").await;
    wait_for_state(&cluster, "one", "ready").await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    agent.wait("a session with the new leader", |seen| seen.full >= 2).await;
    assert_eq!(state_of(&cluster, "one").await, "ready");
    // And no longer than that.
    agent.behave(Mood::Gone);
    let leader = cluster.leader().await;
    cluster
        .restart((0..3).find(|member| cluster.running().all(|(running, _)| running != *member)).unwrap())
        .await;
    cluster.kill(leader).await;
    wait_for_state(&cluster, "one", "down").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_is_emptied() {
    let cluster = Cluster::start(1).await;
    let one = Agent::start(&cluster, "one").await;
    let _two = Agent::start(&cluster, "two").await;
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(4)).await.unwrap();
    running(&client, 4).await;
    let drain = SetAvailabilityRequest {
        request_id: request_id(),
        node: "one".to_owned(),
        availability: "drained".to_owned(),
    };
    client.set_availability(drain).await.unwrap();
    one.wait("nothing left to run", |seen| seen.held.values().all(|task| task.desired != "running")).await;
    let left = running(&client, 4).await;
    assert!(left.iter().all(|task| task.node == "two"), "{left:?}");
}
