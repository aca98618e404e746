//! `wharf get`.

use crate::{
    cli::{Format, Get, Kind},
    client::Client,
    failure::Result,
    output,
};
use wharf_proto::v1::{GetRequest, Kind as Wire, Object, WatchResponse, watch_response::Change};

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
        return super::image::list(Some(client), None, false, args.output).await;
    };
    let request = GetRequest {
        kind: kind.into(),
        names: args.names,
        stack: args.stack.unwrap_or_default(),
        service: args.service.unwrap_or_default(),
        node: args.node.unwrap_or_default(),
        stale: args.stale,
        all: args.all,
        after: 0,
    };
    if args.watch {
        return watch(client, request, args.output).await;
    }
    let objects = client.get(&request).await?;
    if objects.is_empty() && matches!(args.output, Format::Table | Format::Wide) {
        eprintln!("nothing there");
        return Ok(());
    }
    output::print(&objects, args.output, true)
}

/// Prints what there is, then every change as it comes; goes on at another controller when a watch breaks.
///
/// # Errors
/// When no controller can be reached.
pub async fn watch(client: &Client, mut request: GetRequest, format: Format) -> Result<()> {
    let mut first = true;
    loop {
        let call = |mut api: crate::client::Api| {
            let request = request.clone();
            async move { api.watch(request).await }
        };
        let mut stream: tonic::Streaming<WatchResponse> = client.call(call).await?;
        let mut listed: Vec<Object> = Vec::new();
        let mut complete = false;
        while let Ok(Some(change)) = stream.message().await {
            let kind = change.change();
            if kind == Change::Bookmark {
                complete = true;
                if first {
                    output::print(&listed, format, true)?;
                }
                first = false;
                continue;
            }
            let Some(object) = change.object else { continue };
            if let Some(wharf_proto::v1::object::Object::Event(event)) = &object.object {
                request.after = event.sequence;
            }
            if !complete {
                listed.push(object);
            } else if kind == Change::Removed {
                if matches!(format, Format::Table | Format::Wide) {
                    println!("{} removed", output::name(&object));
                }
            } else {
                output::print(&[object], format, false)?;
            }
        }
    }
}
