//! Logs, asked of the agents that hold them.

use crate::{
    agent::{Agent, Mood},
    harness::{Client, Cluster, apply, running, shop},
};
use std::time::Duration;
use tonic::{Code, Status};
use wharf_proto::v1::{LogEntry, LogsRequest};

async fn read(client: &mut Client, target: &str) -> Result<Vec<LogEntry>, Status> {
    let request = LogsRequest { target: target.to_owned(), ..LogsRequest::default() };
    let mut stream = client.logs(request).await?.into_inner();
    let mut lines = Vec::new();
    while let Some(line) = stream.message().await? {
        lines.push(line);
    }
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_of_all_tasks_are_merged_in_order() {
    let cluster = Cluster::start(2).await;
    let _agents = [Agent::start(&cluster, "one").await, Agent::start(&cluster, "two").await];
    let mut client = cluster.client(cluster.follower().await).await;
    apply(&mut client, shop(3)).await.unwrap();
    running(&client, 3).await;

    let lines = read(&mut client, "shop/web").await.unwrap();
    assert_eq!(lines.len(), 6);
    assert!(lines.is_sorted_by_key(|line| line.at), "{lines:?}");
    let names: std::collections::BTreeSet<&str> = lines.iter().map(|line| line.task.as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["shop/web.1", "shop/web.2", "shop/web.3"]);
    assert!(lines.iter().all(|line| matches!(line.node.as_str(), "one" | "two")));

    assert_eq!(read(&mut client, "shop/web.2").await.unwrap().len(), 2);
    assert_eq!(read(&mut client, "shop/none").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_there_is_remarked() {
    let cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(1)).await.unwrap();
    running(&client, 1).await;
    agent.behave(Mood::Gone);
    let lines = read(&mut client, "shop/web").await.unwrap();
    let remark = lines.iter().find(|line| line.stream == "wharf").expect("a remark");
    assert_eq!((remark.node.as_str(), remark.task.as_str()), ("one", "shop/web.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_picks_up_tasks_that_come_later() {
    let cluster = Cluster::start(1).await;
    let _agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(1)).await.unwrap();
    running(&client, 1).await;
    let request = LogsRequest { target: "shop/web".to_owned(), follow: true, ..LogsRequest::default() };
    let mut stream = client.logs(request).await.unwrap().into_inner();
    apply(&mut client, shop(2)).await.unwrap();
    let second = async {
        loop {
            let line = stream.message().await.unwrap().expect("the stream ended");
            if line.task == "shop/web.2" {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), second).await.expect("the second task's lines");
}
