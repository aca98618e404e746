//! `wharf image`.

mod catalog;
mod import;
mod list;
mod progress;
mod registry;
mod remove;
mod transfer;

pub use list::list_of_context;

use crate::{
    cli::Image,
    client::Client,
    failure::{Failure, Result},
};
use wharf_image::{ImageName, Platform};

/// Imports, pushes, pulls, lists or removes images.
///
/// # Errors
/// When the registry refuses or can't be reached.
pub async fn image<'a>(open: impl Fn() -> Result<&'a Client>, what: Image) -> Result<()> {
    // Registries of one's own need no cluster. Without one, they are trusted by the system's authorities alone.
    let client = match open() {
        Ok(client) => Some(client),
        Err(failure) => {
            eprintln!("no cluster: {}", failure.message);
            None
        }
    };
    match what {
        Image::Import(args) => import::import(client, *args).await,
        Image::Push { name, target, registry } => {
            transfer::push_pulled(client, &name, target.as_deref(), &registry).await
        }
        Image::Pull { name, platform, registry } => {
            transfer::pull(client, &name, platform.as_deref(), &registry).await
        }
        Image::Ls(args) => list::list(client, args).await,
        Image::Rm { name, local: true, .. } => remove::remove_local(client, &name).await,
        Image::Rm { name, local: false, yes, registry } => {
            remove::remove(client, &name, yes, &registry).await
        }
    }
}

fn parse(name: &str) -> Result<ImageName> {
    name.parse().map_err(|error| Failure::usage(format!("{error}")))
}

/// The name of an image that is pushed: without a registry's name before it, it goes to the context's registry.
fn parse_target(client: Option<&Client>, name: &str) -> Result<ImageName> {
    let first = name.split('/').next().unwrap_or_default();
    let names_registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    match client.and_then(|client| client.registry.as_ref()) {
        Some(registry) if !names_registry => parse(&format!("{registry}/{name}")),
        _ => parse(name),
    }
}

fn platform(text: Option<&str>) -> Result<Platform> {
    match text {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|error| Failure::usage(format!("{error}"))),
    }
}
