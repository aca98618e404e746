//! `wharf events`.

use super::get;
use crate::{
    cli::Events,
    client::{Client, all},
    failure::Result,
};
use wharf_proto::v1::{GetRequest, Kind};

/// Prints what happened lately, and what happens.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn events(client: &Client, args: Events) -> Result<()> {
    let request = GetRequest { stack: args.stack.unwrap_or_default(), ..all(Kind::Event) };
    if args.follow {
        get::watch(client, request, args.output).await
    } else {
        get::list(client, &request, args.output).await
    }
}
