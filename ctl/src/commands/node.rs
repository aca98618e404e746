//! `wharf node`.

use crate::{
    cli::{Format, Node},
    client::{Client, all, nodes, request_id},
    failure::{Failure, Result},
    output,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};
use wharf_proto::v1::{GetRequest, Kind, RemoveNodeRequest, SetAvailabilityRequest, SetNodeLabelsRequest};

/// How long a drain is waited for.
const WAIT: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);

/// Does what is to be done with a node.
///
/// # Errors
/// When the cluster refuses.
pub async fn node(client: &Client, what: Node) -> Result<()> {
    match what {
        Node::Ls => output::print(&client.get(&all(Kind::Node)).await?, Format::Table, true),
        Node::Cordon { node } => set(client, node, "cordoned").await,
        Node::Activate { node } => set(client, node, "active").await,
        Node::Drain { node, detach } => {
            set(client, node.clone(), "drained").await?;
            if detach { Ok(()) } else { until_empty(client, node).await }
        }
        Node::Label { node, labels } => label(client, node, &labels).await,
        Node::Rm { node, force } => {
            let request = RemoveNodeRequest { request_id: request_id(), node, force };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.remove_node(request).await }
                })
                .await?;
            Ok(())
        }
    }
}

async fn set(client: &Client, node: String, availability: &str) -> Result<()> {
    let request =
        SetAvailabilityRequest { request_id: request_id(), node, availability: availability.to_owned() };
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.set_availability(request).await }
        })
        .await?;
    Ok(())
}

async fn label(client: &Client, node: String, labels: &[String]) -> Result<()> {
    let mut set = BTreeMap::new();
    let mut remove = Vec::new();
    for label in labels {
        match (label.split_once('='), label.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => {
                set.insert(key.to_owned(), value.to_owned());
            }
            (None, Some(key)) if !key.is_empty() => remove.push(key.to_owned()),
            _ => return Err(Failure::usage(format!("\"{label}\" is neither KEY=VALUE nor KEY-"))),
        }
    }
    let request = SetNodeLabelsRequest { request_id: request_id(), node, set, remove };
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.set_node_labels(request).await }
        })
        .await?;
    Ok(())
}

/// Waits until a node carries no task.
async fn until_empty(client: &Client, node: String) -> Result<()> {
    let request = GetRequest { names: vec![node.clone()], ..all(Kind::Node) };
    let deadline = Instant::now() + WAIT;
    let mut last = None;
    loop {
        let left = nodes(client.get(&request).await?).first().map_or(0, |found| found.tasks);
        if left == 0 {
            return Ok(());
        }
        if last != Some(left) {
            eprintln!("{node}: {left} task(s) left");
            last = Some(left);
        }
        if Instant::now() > deadline {
            return Err(Failure::failed(format!(
                "{left} task(s) are still on {node}; wharf get tasks --node {node} shows them"
            )));
        }
        sleep(LOOK).await;
    }
}
