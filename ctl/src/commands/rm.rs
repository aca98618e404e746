//! `wharf rm`.

use super::confirm;
use crate::{
    cli::{Kind, Rm},
    client::{Client, all, request_id, services, tasks},
    failure::{Failure, Result},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use wharf_proto::v1::{
    GetRequest, Kind as Wire, RemoveNodeRequest, RemoveServiceRequest, RemoveStackRequest,
};

/// How long to wait until tasks are gone.
const WAIT: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(50);

/// Removes stacks, services or nodes, and waits until their tasks are gone.
///
/// # Errors
/// When the cluster refuses, or tasks don't go.
pub async fn rm(client: &Client, args: Rm) -> Result<()> {
    let kind = match args.kind {
        Kind::Stacks => "stack",
        Kind::Services => "service",
        Kind::Nodes => "node",
        _ => return Err(Failure::usage("only stacks, services and nodes can be removed")),
    };
    confirm(&format!("Remove {kind} {}?", args.names.join(", ")), args.yes)?;
    for name in &args.names {
        let (id, given) = (request_id(), name.clone());
        match args.kind {
            Kind::Stacks => {
                let request = RemoveStackRequest { request_id: id, stack: given };
                client
                    .call(|mut api| {
                        let request = request.clone();
                        async move { api.remove_stack(request).await }
                    })
                    .await?;
            }
            Kind::Services => {
                let request = RemoveServiceRequest { request_id: id, service: given };
                client
                    .call(|mut api| {
                        let request = request.clone();
                        async move { api.remove_service(request).await }
                    })
                    .await?;
            }
            _ => {
                let request = RemoveNodeRequest { request_id: id, node: given, force: args.force };
                client
                    .call(|mut api| {
                        let request = request.clone();
                        async move { api.remove_node(request).await }
                    })
                    .await?;
            }
        }
    }
    if args.detach || args.kind == Kind::Nodes {
        return Ok(());
    }
    let filters: Vec<GetRequest> = args
        .names
        .iter()
        .map(|name| match args.kind {
            Kind::Stacks => GetRequest { stack: name.clone(), all: true, ..all(Wire::Task) },
            _ => GetRequest { service: name.clone(), all: true, ..all(Wire::Task) },
        })
        .collect();
    until_gone(client, &filters, args.kind == Kind::Services).await
}

/// Waits until no task answers to the filters. A service that is gone is not found, which is as good.
async fn until_gone(client: &Client, filters: &[GetRequest], by_service: bool) -> Result<()> {
    let deadline = Instant::now() + WAIT;
    let mut pause = LOOK;
    for filter in filters {
        loop {
            let left = match client.get(filter).await {
                Ok(found) => tasks(found).len(),
                Err(failure) if failure.code == crate::failure::NOT_FOUND => 0,
                Err(failure) => return Err(failure),
            };
            if left == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err(Failure::failed(format!(
                    "{left} tasks are still there; wharf get tasks --all shows why"
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        if !by_service {
            let of_stack = GetRequest { stack: filter.stack.clone(), ..all(Wire::Service) };
            if let Ok(found) = client.get(&of_stack).await
                && services(found).iter().any(|service| !service.removing)
            {
                return Err(Failure::failed(format!("stack {} was applied again meanwhile", filter.stack)));
            }
        }
    }
    Ok(())
}
