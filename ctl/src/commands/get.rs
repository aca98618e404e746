//! `wharf get`.

use crate::{
    cli::{Format, Get, Kind},
    client::Client,
    failure::{Failure, Result},
    names,
    output::{self, Feed},
    watch::{Update, Watch},
};
use futures::StreamExt;
use std::pin::pin;
use wharf_proto::v1::{GetRequest, Kind as Wire};

/// The kind as it travels; `None` for what the cluster doesn't hold.
pub fn wire(kind: Kind) -> Option<Wire> {
    Some(match kind {
        Kind::Stacks => Wire::Stack,
        Kind::Services => Wire::Service,
        Kind::Tasks => Wire::Task,
        Kind::Nodes => Wire::Node,
        Kind::Controllers => Wire::Controller,
        Kind::Events => Wire::Event,
        Kind::Images => return None,
    })
}

/// Lists things, once or with every change.
///
/// # Errors
/// When the cluster can't be asked, or a name is unknown.
pub async fn get(client: &Client, args: Get) -> Result<()> {
    let Some(kind) = wire(args.kind) else {
        if args.watch || !args.names.is_empty() {
            return Err(Failure::usage("images are listed all at once: wharf image ls"));
        }
        return super::image::list_of_context(client, args.output).await;
    };
    let mut request = GetRequest {
        kind: kind.into(),
        names: Vec::new(),
        stack: args.stack.unwrap_or_default(),
        service: String::new(),
        node: args.node.unwrap_or_default(),
        stale: args.stale,
        all: args.all,
        after: 0,
    };
    for name in &args.names {
        request.names.push(full_name(client, args.kind, name).await?);
    }
    if let Some(service) = &args.service {
        request.service = names::service(client, service).await?;
    }
    if args.watch {
        return watch(client, request, args.output).await;
    }
    list(client, &request, args.output).await
}

/// The name of a thing, with its stack if that was left out. Ids stay as they are.
///
/// # Errors
/// When the name could be several things'.
pub async fn full_name(client: &Client, kind: Kind, name: &str) -> Result<String> {
    match kind {
        Kind::Services => match names::service(client, name).await {
            Err(failure) if failure.code == crate::failure::NOT_FOUND => Ok(name.to_owned()),
            other => other,
        },
        Kind::Tasks => names::task(client, name).await,
        _ => Ok(name.to_owned()),
    }
}

/// Prints what there is.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn list(client: &Client, request: &GetRequest, format: Format) -> Result<()> {
    let objects = client.get(request).await?;
    if objects.is_empty() && matches!(format, Format::Table | Format::Wide) {
        eprintln!("nothing there");
    }
    output::print(&objects, format)
}

/// Prints what there is, then every change as it comes.
///
/// # Errors
/// When no controller can be reached any more.
pub async fn watch(client: &Client, request: GetRequest, format: Format) -> Result<()> {
    let mut updates = pin!(Watch::new(client, request).updates());
    let mut feed = Feed::new(format);
    let mut first = Some(Vec::new());
    while let Some(update) = updates.next().await {
        match (update?, &mut first) {
            (Update::Set(object), Some(objects)) => objects.push(object),
            (Update::Set(object), None) => feed.go_on(&object)?,
            (Update::Removed(object), _) => feed.gone(&object)?,
            (Update::Listed, _) => feed.begin(&first.take().unwrap_or_default())?,
        }
    }
    Ok(())
}
