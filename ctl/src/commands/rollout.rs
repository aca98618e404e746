//! `wharf rollout`.

use super::follow::{self, Scope};
use crate::{
    cli::{Format, Rollout},
    client::{Client, all, request_id, services},
    failure::{Failure, Result},
    names,
    output::{self, Table, clean, say, time::age},
};
use std::{
    io::{Write, stdout},
    time::Duration,
};
use wharf_proto::v1::{GetRequest, Kind, RestartServiceRequest, Service, UndoRolloutRequest};

/// Follows, lists, undoes or repeats updates.
///
/// # Errors
/// When the cluster refuses, or the update fails.
pub async fn rollout(client: &Client, what: Rollout, wait: Duration) -> Result<()> {
    match what {
        Rollout::Status { service, now } => {
            status(client, names::service(client, &service).await?, now, wait).await
        }
        Rollout::History { service, output } => {
            history(&one(client, &names::service(client, &service).await?).await?, output)
        }
        Rollout::Undo { service, to, detach } => {
            let service = names::service(client, &service).await?;
            let before = before(client, &service).await?;
            let request = UndoRolloutRequest { request_id: request_id(), service: service.clone(), to };
            client.write(request, |mut api, request| async move { api.undo_rollout(request).await }).await?;
            if detach {
                return Ok(());
            }
            let followed =
                follow::until_running(client, &Scope::Services(vec![service.clone()]), &before, wait).await;
            match (followed, one(client, &service).await?.rollout) {
                // Rolled back is what was asked for.
                (Err(_), Some(rollout)) if rollout.state == "rolled back" => Ok(()),
                (followed, _) => followed,
            }
        }
        Rollout::Restart { service, detach } => {
            let service = names::service(client, &service).await?;
            let before = before(client, &service).await?;
            let request = RestartServiceRequest { request_id: request_id(), service: service.clone() };
            client
                .write(request, |mut api, request| async move { api.restart_service(request).await })
                .await?;
            if detach {
                return Ok(());
            }
            follow::until_running(client, &Scope::Services(vec![service]), &before, wait).await
        }
    }
}

async fn before(client: &Client, service: &str) -> Result<follow::Before> {
    let stack = service.split_once('/').map_or(service, |(stack, _)| stack);
    follow::before(client, [stack]).await
}

async fn status(client: &Client, name: String, now: bool, wait: Duration) -> Result<()> {
    let service = one(client, &name).await?;
    let Some(rollout) = &service.rollout else {
        return say(&format!("{name}: no update yet; {} of {} tasks run", service.running, service.desired));
    };
    let message =
        if rollout.message.is_empty() { String::new() } else { format!(": {}", clean(&rollout.message)) };
    say(&format!(
        "{name}: {} (version {} to {}), {} of {} tasks updated{message}",
        rollout.state, rollout.from, rollout.to, service.up_to_date, service.desired
    ))?;
    if now || !matches!(rollout.state.as_str(), "updating" | "rolling back") {
        return Ok(());
    }
    follow::until_running(client, &Scope::Services(vec![name]), &follow::Before::default(), wait).await
}

fn history(service: &Service, format: Format) -> Result<()> {
    match format {
        Format::Table | Format::Wide => Ok(write!(stdout().lock(), "{}", versions(service).render())?),
        Format::Json | Format::Yaml => output::serialise(&service.history, format),
        Format::Name => service.history.iter().try_for_each(|version| say(&version.version.to_string())),
    }
}

/// The versions of a service's template.
pub fn versions(service: &Service) -> Table {
    let mut table = Table::new(&["VERSION", "IMAGE", "RUNNING", "AGE", "CURRENT"]);
    for version in &service.history {
        let container = version.template.as_ref().and_then(|template| template.container.as_ref());
        table.row(vec![
            version.version.to_string(),
            container.map_or_else(String::new, |container| container.image.clone()),
            version.running.to_string(),
            age(version.created),
            if version.version == service.template { "*".to_owned() } else { String::new() },
        ]);
    }
    table
}

async fn one(client: &Client, name: &str) -> Result<Service> {
    let request = GetRequest { names: vec![name.to_owned()], ..all(Kind::Service) };
    let found = services(client.get(&request).await?).pop();
    found.ok_or_else(|| Failure::not_found(format!("there is no service {name}")))
}
