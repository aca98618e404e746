//! `wharf scale`.

use super::follow::{self, Scope};
use crate::{
    cli::Scale,
    client::{Client, request_id},
    failure::{Failure, Result},
    names,
};
use std::{collections::BTreeMap, time::Duration};
use wharf_proto::v1::ScaleServicesRequest;

/// Sets numbers of replicas, and waits until they run.
///
/// # Errors
/// When the cluster refuses, or tasks fail.
pub async fn scale(client: &Client, args: Scale, wait: Duration) -> Result<()> {
    let mut replicas = BTreeMap::new();
    for target in &args.targets {
        let parsed = target.split_once('=').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, number) =
            parsed.ok_or_else(|| Failure::usage(format!("\"{target}\" is not SERVICE=NUMBER")))?;
        replicas.insert(names::service(client, name).await?, number);
    }
    let scaled: Vec<String> = replicas.keys().cloned().collect();
    let stacks = scaled.iter().filter_map(|name| name.split_once('/')).map(|(stack, _)| stack);
    let before = follow::before(client, stacks).await?;
    let request = ScaleServicesRequest { request_id: request_id(), replicas };
    client.write(request, |mut api, request| async move { api.scale_services(request).await }).await?;
    if args.detach {
        return Ok(());
    }
    follow::until_running(client, &Scope::Services(scaled), &before, wait).await
}
