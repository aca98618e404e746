//! `wharf rollout`.

use super::follow;
use crate::{
    cli::Rollout,
    client::{Client, all, request_id, services},
    failure::{Failure, Result},
    output::{Table, time::age},
};
use std::time::Duration;
use wharf_proto::v1::{GetRequest, Kind, RestartServiceRequest, Service, UndoRolloutRequest};

/// How long an update is followed.
const WAIT: Duration = Duration::from_secs(3600);

/// Follows, lists, undoes or repeats updates.
///
/// # Errors
/// When the cluster refuses, or the update fails.
pub async fn rollout(client: &Client, what: Rollout) -> Result<()> {
    match what {
        Rollout::Status { service, now } => status(client, &service, now).await,
        Rollout::History { service } => history(&one(client, &service).await?),
        Rollout::Undo { service, to, detach } => {
            let before = before(client, &service).await?;
            let request = UndoRolloutRequest { request_id: request_id(), service: service.clone(), to };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.undo_rollout(request).await }
                })
                .await?;
            if detach {
                return Ok(());
            }
            match follow::until_running(client, &[service], &before, WAIT).await {
                // What was asked for.
                Err(failure) if failure.message.contains("the update is rolled back") => Ok(()),
                other => other,
            }
        }
        Rollout::Restart { service, detach } => {
            let before = before(client, &service).await?;
            let request = RestartServiceRequest { request_id: request_id(), service: service.clone() };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.restart_service(request).await }
                })
                .await?;
            if detach { Ok(()) } else { follow::until_running(client, &[service], &before, WAIT).await }
        }
    }
}

async fn before(client: &Client, service: &str) -> Result<follow::Before> {
    let stack = service.split_once('/').map_or(service, |(stack, _)| stack);
    follow::before(client, [stack]).await
}

async fn status(client: &Client, name: &str, now: bool) -> Result<()> {
    let service = one(client, name).await?;
    let Some(rollout) = &service.rollout else {
        println!("{name}: no update yet; {} of {} tasks run", service.running, service.desired);
        return Ok(());
    };
    println!(
        "{name}: {} (version {} to {}), {} of {} tasks updated{}{}",
        rollout.state,
        rollout.from,
        rollout.to,
        service.up_to_date,
        service.desired,
        if rollout.message.is_empty() { "" } else { ": " },
        rollout.message
    );
    if now || !matches!(rollout.state.as_str(), "updating" | "rolling back") {
        return Ok(());
    }
    follow::until_running(client, &[name.to_owned()], &follow::Before::new(), WAIT).await
}

fn history(service: &Service) -> Result<()> {
    let mut table = Table::new(&["VERSION", "IMAGE", "RUNNING", "AGE", ""], true);
    for version in &service.history {
        let container = version.template.as_ref().and_then(|template| template.container.as_ref());
        table.row(vec![
            version.version.to_string(),
            container.map_or_else(String::new, |container| container.image.clone()),
            version.running.to_string(),
            age(version.created),
            if version.version == service.template { "current".to_owned() } else { String::new() },
        ]);
    }
    use std::io::Write;
    write!(std::io::stdout().lock(), "{}", table.render())?;
    Ok(())
}

async fn one(client: &Client, name: &str) -> Result<Service> {
    let request = GetRequest { names: vec![name.to_owned()], ..all(Kind::Service) };
    let found = services(client.get(&request).await?).pop();
    found.ok_or_else(|| Failure::not_found(format!("there is no service {name}")))
}
