//! `wharf apply`.

use super::{
    confirm,
    follow::{self, Scope},
    plan,
};
use crate::{
    cli::Apply,
    client::{Client, request_id},
    failure::Result,
    output::say,
};
use std::time::Duration;
use wharf_proto::v1::ApplyStackRequest;

/// Makes a stack what its files say, and waits until it is so.
///
/// # Errors
/// When the files can't be used, the cluster refuses, or tasks fail.
pub async fn apply<'a>(open: impl Fn() -> Result<&'a Client>, args: Apply, wait: Duration) -> Result<()> {
    let spec = plan::stack(&args.files)?;
    let client = open()?;
    let planned = plan::ask(client, &spec).await?;
    plan::show(&spec.name, &planned)?;
    if args.plan {
        return Ok(());
    }
    if plan::changes_something(&planned) {
        confirm("Do this?", args.yes).await?;
    }
    let stack = spec.name.clone();
    let services = spec.services.keys().map(|name| format!("{stack}/{name}")).collect();
    let before = follow::before(client, [stack.as_str()]).await?;
    let request = ApplyStackRequest {
        request_id: request_id(),
        spec: Some(spec),
        expected_version: Some(planned.version),
    };
    client.write(request, |mut api, request| async move { api.apply_stack(request).await }).await?;
    if args.detach {
        return say(&format!("Stack {stack} is on its way: wharf get tasks --stack {stack} -w shows it."));
    }
    follow::until_running(client, &Scope::Stack { name: stack, services }, &before, wait).await
}
