//! `wharf scale`.

use super::follow;
use crate::{
    cli::Scale,
    client::{Client, request_id},
    failure::{Failure, Result},
};
use std::collections::BTreeMap;
use wharf_proto::v1::ScaleServicesRequest;

/// Sets numbers of replicas, and waits until they run.
///
/// # Errors
/// When the cluster refuses, or tasks fail.
pub async fn scale(client: &Client, args: Scale) -> Result<()> {
    let mut replicas = BTreeMap::new();
    for target in &args.targets {
        let parsed = target.split_once('=').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let Some((name, number)) = parsed.filter(|(name, _)| name.contains('/')) else {
            return Err(Failure::usage(format!("\"{target}\" is not STACK/SERVICE=NUMBER")));
        };
        replicas.insert(name.to_owned(), number);
    }
    let names: Vec<String> = replicas.keys().cloned().collect();
    let stacks = names.iter().filter_map(|name| name.split_once('/')).map(|(stack, _)| stack);
    let before = follow::before(client, stacks).await?;
    let request = ScaleServicesRequest { request_id: request_id(), replicas };
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.scale_services(request).await }
        })
        .await?;
    if args.detach {
        return Ok(());
    }
    follow::until_running(client, &names, &before, args.wait).await
}
