//! `wharf image rm`.

use super::{catalog::Catalog, parse, parse_target, registry};
use crate::{
    cli::RegistryArgs,
    client::Client,
    commands::confirm,
    contexts::describe,
    failure::{Failure, Result},
    output::say,
};

/// Removes a tag, or with a digest the image itself, from its registry. Nodes that have it keep it.
///
/// # Errors
/// When it isn't there, or the registry refuses.
pub async fn remove(client: Option<&Client>, name: &str, yes: bool, args: &RegistryArgs) -> Result<()> {
    let name = parse_target(client, name)?;
    confirm(&format!("Remove {name} from its registry?"), yes).await?;
    let catalog = Catalog::new(client, name.registry(), args.plain_http, registry::credentials(args)?)?;
    catalog.delete(name.repository(), &name.manifest_reference()).await?;
    say(&format!("{name} removed"))
}

/// Removes an image from this user's store.
///
/// # Errors
/// When it isn't there.
pub async fn remove_local(client: Option<&Client>, name: &str) -> Result<()> {
    let name = parse(name)?;
    let images = registry::open(client, &name, false, registry::user_store()?).await?;
    let there = images.remove(&name).await.map_err(|error| Failure::failed(describe(&error)))?;
    if !there {
        return Err(Failure::not_found(format!("{} was not pulled here", name.familiar())));
    }
    images.gc(Vec::new()).await.map_err(|error| Failure::failed(describe(&error)))?;
    say(&format!("{name} removed"))
}
