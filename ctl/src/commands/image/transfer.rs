//! `wharf image push` and `pull`.

use super::{parse, parse_target, platform, progress::Bar, registry};
use crate::{
    cli::RegistryArgs,
    client::Client,
    contexts::describe,
    failure::{Failure, Result},
    output::say,
};
use wharf_image::{ImageName, Images, PullOptions, PullPolicy, PushOptions};

/// Pulls an image into this user's store.
///
/// # Errors
/// When the registry refuses or has none for the platform.
pub async fn pull(
    client: Option<&Client>,
    name: &str,
    wanted: Option<&str>,
    args: &RegistryArgs,
) -> Result<()> {
    let name = parse(name)?;
    let images = registry::open(client, &name, args.plain_http, registry::user_store()?).await?;
    let bar = Bar::new(&format!("pulling {}", name.familiar()));
    let options = PullOptions {
        policy: PullPolicy::Always,
        credentials: registry::credentials(args)?,
        progress: Some(bar.clone()),
    };
    let pulled = images.pull(&name, &platform(wanted)?, &options).await;
    bar.finish();
    let pulled = pulled.map_err(|error| Failure::failed(describe(&error)))?;
    say(&format!("{name} {}", pulled.target))
}

/// Pushes an image that was pulled, as `target` if that is given.
///
/// # Errors
/// When it isn't there, or the registry refuses.
pub async fn push_pulled(
    client: Option<&Client>,
    name: &str,
    target: Option<&str>,
    args: &RegistryArgs,
) -> Result<()> {
    let name = parse(name)?;
    let target = target.map_or(Ok(name.clone()), |target| parse_target(client, target))?;
    let images = registry::open(client, &target, args.plain_http, registry::user_store()?).await?;
    if target != name {
        images.tag(&name, &target).await.map_err(|error| Failure::not_found(describe(&error)))?;
    }
    push(&images, &target, args).await
}

/// Pushes an image.
///
/// # Errors
/// When it isn't there, or the registry refuses.
pub async fn push(images: &Images, name: &ImageName, args: &RegistryArgs) -> Result<()> {
    let bar = Bar::new(&format!("pushing {}", name.familiar()));
    let options = PushOptions {
        credentials: registry::credentials(args)?,
        progress: Some(bar.clone()),
        ..PushOptions::default()
    };
    let pushed = images.push(name, &options).await;
    bar.finish();
    let digest = pushed.map_err(|error| Failure::failed(describe(&error)))?;
    say(&format!("{name} {digest}"))
}
