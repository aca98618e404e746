//! `wharf rm`.

use super::{
    confirm,
    follow::{self, Scope},
    node,
};
use crate::{
    cli::{Kind, Rm},
    client::{Client, request_id},
    failure::{Failure, Result},
    names,
};
use clap::ValueEnum;
use std::time::Duration;
use wharf_proto::v1::{RemoveServiceRequest, RemoveStackRequest};

/// Removes stacks, services or nodes, and waits until their tasks are gone.
///
/// # Errors
/// When the cluster refuses, or tasks don't go.
pub async fn rm(client: &Client, args: Rm, wait: Duration) -> Result<()> {
    let targets = targets(&args.names)?;
    let mut resolved = Vec::new();
    for target in targets {
        resolved.push(match target {
            Target::Service(name) => Target::Service(names::service(client, &name).await?),
            other => other,
        });
    }
    let list: Vec<String> = resolved.iter().map(ToString::to_string).collect();
    confirm(&format!("Remove {}?", list.join(", ")), args.yes).await?;
    for target in &resolved {
        target.remove(client, args.force).await?;
    }
    if args.detach {
        return Ok(());
    }
    for target in &resolved {
        if let Some((scope, what)) = target.scope() {
            follow::until_gone(client, &scope, &what, wait).await?;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Stack(String),
    Service(String),
    Node(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Stack(name) => write!(f, "stack {name}"),
            Target::Service(name) => write!(f, "service {name}"),
            Target::Node(name) => write!(f, "node {name}"),
        }
    }
}

impl Target {
    async fn remove(&self, client: &Client, force: bool) -> Result<()> {
        match self {
            Target::Stack(name) => {
                let request = RemoveStackRequest { request_id: request_id(), stack: name.clone() };
                client
                    .write(request, |mut api, request| async move { api.remove_stack(request).await })
                    .await?;
            }
            Target::Service(name) => {
                let request = RemoveServiceRequest { request_id: request_id(), service: name.clone() };
                client
                    .write(request, |mut api, request| async move { api.remove_service(request).await })
                    .await?;
            }
            Target::Node(name) => node::remove(client, name, force).await?,
        }
        Ok(())
    }

    /// What has to be gone.
    fn scope(&self) -> Option<(Scope, String)> {
        match self {
            Target::Stack(name) => {
                Some((Scope::Stack { name: name.clone(), services: Vec::new() }, self.to_string()))
            }
            Target::Service(name) => {
                let (stack, _) = name.split_once('/')?;
                // By stack, because a service that is gone already can't be named.
                let scope = Scope::Stack { name: stack.to_owned(), services: vec![name.clone()] };
                Some((scope, self.to_string()))
            }
            Target::Node(_) => None,
        }
    }
}

/// What the words of the command line name.
fn targets(words: &[String]) -> Result<Vec<Target>> {
    let (kind, names) = match words {
        [first, rest @ ..] if !rest.is_empty() => match Kind::from_str(first, true) {
            Ok(kind) => (Some(kind), rest),
            Err(_) => (None, words),
        },
        _ => (None, words),
    };
    names
        .iter()
        .map(|name| match kind {
            Some(Kind::Stacks) => Ok(Target::Stack(name.clone())),
            Some(Kind::Services) => Ok(Target::Service(name.clone())),
            Some(Kind::Nodes) => Ok(Target::Node(name.clone())),
            Some(Kind::Images) => Err(Failure::usage("images are removed with wharf image rm")),
            Some(Kind::Controllers) => {
                Err(Failure::usage("controllers are removed with wharf controller rm"))
            }
            Some(Kind::Tasks) => {
                Err(Failure::usage("tasks come and go with their service: scale it, or roll it out again"))
            }
            Some(Kind::Events) => Err(Failure::usage("events go by themselves")),
            None if name.contains('/') => Ok(Target::Service(name.clone())),
            None => Ok(Target::Stack(name.clone())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_can_be_said_or_seen_from_the_name() {
        let words = |words: &[&str]| targets(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["stack", "shop"]).unwrap(), [Target::Stack("shop".into())]);
        assert_eq!(
            words(&["shop", "blog"]).unwrap(),
            [Target::Stack("shop".into()), Target::Stack("blog".into())]
        );
        assert_eq!(words(&["shop/web"]).unwrap(), [Target::Service("shop/web".into())]);
        assert_eq!(words(&["svc", "web"]).unwrap(), [Target::Service("web".into())]);
        assert_eq!(words(&["node", "a1"]).unwrap(), [Target::Node("a1".into())]);
        // A stack may be called as a kind is.
        assert_eq!(words(&["node"]).unwrap(), [Target::Stack("node".into())]);
        assert!(words(&["task", "shop/web.1"]).is_err());
    }
}
