//! Many nodes that vanish at once, through real sessions.

use crate::{
    agent::{Agent, Mood},
    harness::{Client, Cluster, TIMINGS, apply, eventually, nodes, request_id, running, shop, tasks},
};
use std::time::Duration;
use tonic::{Code, Status};
use wharf_controller::settings::Timings;
use wharf_proto::v1::{self, DeclareNodesDownRequest, GetRequest};

async fn states(client: &Client) -> Result<Vec<v1::Node>, Status> {
    nodes(&mut client.clone()).await
}

async fn wait_for(client: &Client, wanted: &[(&str, &str)]) {
    eventually(&format!("{wanted:?}"), || async {
        let nodes = states(client).await.ok()?;
        let is = |(name, state): &(&str, &str)| {
            nodes.iter().any(|node| node.name == *name && node.state == *state)
        };
        wanted.iter().all(is).then_some(())
    })
    .await;
}

async fn declare_down(client: &Client, names: &[&str]) -> Result<(), Status> {
    let nodes = names.iter().map(ToString::to_string).collect();
    let request = DeclareNodesDownRequest { request_id: request_id(), nodes };
    client.clone().declare_nodes_down(request).await.map(drop)
}

async fn on(client: &Client, node: &str) -> Vec<v1::Task> {
    let there = GetRequest { node: node.to_owned(), ..GetRequest::default() };
    let tasks = tasks(&mut client.clone(), there).await.unwrap();
    tasks.into_iter().filter(|task| task.desired == "running").collect()
}

/// Four nodes with two tasks each; three of them vanish.
async fn shipwreck(timings: Timings) -> (Cluster, Client, Vec<Agent>) {
    let cluster = Cluster::with_timings(1, timings).await;
    let mut agents = Vec::new();
    for name in ["n1", "n2", "n3", "n4"] {
        agents.push(Agent::start(&cluster, name).await);
    }
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(8)).await.unwrap();
    running(&client, 8).await;
    for agent in &agents[..3] {
        agent.behave(Mood::Silent);
    }
    (cluster, client, agents)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_until_people_say_what_is_lost() {
    let (_cluster, client, agents) = shipwreck(TIMINGS).await;
    wait_for(&client, &[("n1", "unknown"), ("n2", "unknown"), ("n3", "unknown"), ("n4", "ready")]).await;
    let shown = states(&client).await.unwrap();
    let message = &shown.iter().find(|node| node.name == "n1").unwrap().message;
    assert!(message.contains("wharf node down n1"), "{message}");
    assert_eq!(on(&client, "n4").await.len(), 2);
    assert_eq!(on(&client, "n1").await.len(), 2);

    // One comes back and goes on with what it has; one is lost for good.
    agents[0].behave(Mood::Willing);
    wait_for(&client, &[("n1", "ready")]).await;
    let refused = declare_down(&client, &["n1"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("wharf node drain n1"), "{}", refused.message());
    assert_eq!(declare_down(&client, &["nobody"]).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(declare_down(&client, &[]).await.unwrap_err().code(), Code::InvalidArgument);
    declare_down(&client, &["n2"]).await.unwrap();
    wait_for(&client, &[("n2", "down")]).await;
    eventually("what was on n2 runs elsewhere", || async {
        let moved = on(&client, "n1").await.len() + on(&client, "n4").await.len();
        (on(&client, "n2").await.is_empty() && moved >= 6).then_some(())
    })
    .await;

    // The lost one comes back, and stops what runs elsewhere now.
    agents[1].behave(Mood::Willing);
    wait_for(&client, &[("n2", "ready")]).await;
    agents[1]
        .wait("the surplus stops", |seen| seen.held.values().all(|task| task.desired != "running"))
        .await;
    agents[2].behave(Mood::Willing);
    wait_for(&client, &[("n3", "ready")]).await;
    running(&client, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_back_is_given_up_in_the_end() {
    let timings = Timings { mass_loss_hold: Duration::from_secs(3), ..TIMINGS };
    let (_cluster, client, _agents) = shipwreck(timings).await;
    wait_for(&client, &[("n1", "unknown"), ("n2", "unknown"), ("n3", "unknown")]).await;
    wait_for(&client, &[("n1", "down"), ("n2", "down"), ("n3", "down"), ("n4", "ready")]).await;
    eventually("everything runs on what is left", || async {
        (on(&client, "n4").await.iter().filter(|task| task.state == "running").count() == 8).then_some(())
    })
    .await;
}
