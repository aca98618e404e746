//! `wharf events`.

use super::get;
use crate::{
    cli::Events,
    client::{Client, all},
    failure::Result,
    output,
};
use wharf_proto::v1::Kind;

/// Prints what happened lately, and what happens.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn events(client: &Client, args: Events) -> Result<()> {
    let request = all(Kind::Event);
    if args.follow {
        return get::watch(client, request, args.output).await;
    }
    output::print(&client.get(&request).await?, args.output, true)
}
