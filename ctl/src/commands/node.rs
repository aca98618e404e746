//! `wharf node`.

use super::{confirm, get};
use crate::{
    cli::Node,
    client::{Client, all, request_id},
    failure::{Failure, Result},
    output::say,
    watch::{Update, Watch},
};
use futures::StreamExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::time::timeout;
use wharf_proto::v1::{
    DeclareNodesDownRequest, GetRequest, Kind, Object, RemoveNodeRequest, SetAvailabilityRequest,
    SetNodeLabelsRequest, object,
};

/// Does what is to be done with a node.
///
/// # Errors
/// When the cluster refuses.
pub async fn node(client: &Client, what: Node, wait: Duration) -> Result<()> {
    match what {
        Node::Ls { output } => get::list(client, &all(Kind::Node), output).await,
        Node::Cordon { node } => set(client, &node, "cordoned").await,
        Node::Activate { node } => set(client, &node, "active").await,
        Node::Drain { node, detach } => {
            set(client, &node, "drained").await?;
            if detach { Ok(()) } else { until_empty(client, &node, wait).await }
        }
        Node::Down { nodes, yes } => {
            confirm(&format!("Replace the tasks of {} elsewhere?", nodes.join(", ")), yes).await?;
            declare_down(client, nodes).await
        }
        Node::Label { node, labels } => label(client, &node, &labels).await,
        Node::Rm { node, force, yes } => {
            confirm(&format!("Remove node {node}?"), yes).await?;
            remove(client, &node, force).await
        }
    }
}

/// Forgets a node.
///
/// # Errors
/// When the cluster refuses.
pub async fn remove(client: &Client, node: &str, force: bool) -> Result<()> {
    let request = RemoveNodeRequest { request_id: request_id(), node: node.to_owned(), force };
    client.write(request, |mut api, request| async move { api.remove_node(request).await }).await?;
    say(&format!("node {node} removed"))
}

async fn declare_down(client: &Client, nodes: Vec<String>) -> Result<()> {
    let request = DeclareNodesDownRequest { request_id: request_id(), nodes: nodes.clone() };
    client.write(request, |mut api, request| async move { api.declare_nodes_down(request).await }).await?;
    nodes.iter().try_for_each(|node| say(&format!("node {node} is down")))
}

async fn set(client: &Client, node: &str, availability: &str) -> Result<()> {
    let request = SetAvailabilityRequest {
        request_id: request_id(),
        node: node.to_owned(),
        availability: availability.to_owned(),
    };
    client.write(request, |mut api, request| async move { api.set_availability(request).await }).await?;
    say(&format!("node {node} is {availability}"))
}

async fn label(client: &Client, node: &str, labels: &[String]) -> Result<()> {
    let (set, remove) = parse_labels(labels)?;
    let request = SetNodeLabelsRequest { request_id: request_id(), node: node.to_owned(), set, remove };
    client.write(request, |mut api, request| async move { api.set_node_labels(request).await }).await?;
    say(&format!("node {node} labelled"))
}

fn parse_labels(labels: &[String]) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut set, mut remove) = (BTreeMap::new(), Vec::new());
    for label in labels {
        match (label.split_once('='), label.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => {
                set.insert(key.to_owned(), value.to_owned());
            }
            (None, Some(key)) if !key.is_empty() => remove.push(key.to_owned()),
            _ => return Err(Failure::usage(format!("\"{label}\" is neither KEY=VALUE nor KEY-"))),
        }
    }
    Ok((set, remove))
}

/// Waits until a node carries no task.
async fn until_empty(client: &Client, node: &str, wait: Duration) -> Result<()> {
    let request = GetRequest { node: node.to_owned(), ..all(Kind::Task) };
    let mut updates = pin!(Watch::new(client, request).updates());
    let mut left: BTreeSet<String> = BTreeSet::new();
    let (mut listed, mut told) = (false, usize::MAX);
    let emptied = timeout(wait, async {
        while let Some(update) = updates.next().await {
            match update? {
                Update::Listed => listed = true,
                Update::Set(Object { object: Some(object::Object::Task(task)) })
                    if !super::follow::is_final(&task) =>
                {
                    left.insert(task.id);
                }
                Update::Set(Object { object: Some(object::Object::Task(task)) })
                | Update::Removed(Object { object: Some(object::Object::Task(task)) }) => {
                    left.remove(&task.id);
                }
                Update::Set(_) | Update::Removed(_) => {}
            }
            if listed && left.is_empty() {
                return Ok(());
            }
            if listed && left.len() != told {
                told = left.len();
                eprintln!("node {node}: {told} tasks left");
            }
        }
        Ok(())
    });
    emptied.await.unwrap_or_else(|_| {
        Err(Failure::failed(format!(
            "{} tasks are still on {node}; wharf get tasks --node {node} shows them",
            left.len()
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_removed() {
        let words = |words: &[&str]| parse_labels(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        let (set, remove) = words(&["disk=ssd", "zone-", "url=a=b-"]).unwrap();
        assert_eq!(set, [("disk", "ssd"), ("url", "a=b-")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(remove, ["zone"]);
        for bad in ["=x", "-", "plain"] {
            assert_eq!(words(&[bad]).unwrap_err().code, crate::failure::USAGE);
        }
    }
}
