//! `wharf image ls`.

use super::{catalog::Catalog, registry};
use crate::{
    cli::{Format, ListImages},
    client::Client,
    failure::{Failure, Result},
    output::{self, Table, rows, say},
};
use futures::StreamExt;
use serde::Serialize;
use std::io::{Write, stdout};
use wharf_image::{ImageName, Images, ImagesOptions, manifest::Document, registry::RegistryClient};

/// Manifests that are asked for at the same time.
const AT_ONCE: usize = 8;

/// One image of a registry or of this user's store.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Compressed bytes; an index has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// What an index offers.
    platforms: Vec<String>,
}

/// Lists the images of a registry, or of this user's store.
///
/// # Errors
/// When there is none, or it can't be reached.
pub async fn list(client: Option<&Client>, args: ListImages) -> Result<()> {
    if args.local {
        return print(local().await?, args.output);
    }
    let registry = args.registry.or_else(|| client.and_then(|client| client.registry.clone()));
    let registry = registry.ok_or_else(|| {
        Failure::usage(
            "no registry is known: name one with --registry, or with wharf context set NAME --registry HOST:PORT",
        )
    })?;
    let found = of_registry(client, &registry, args.plain_http, args.output).await?;
    print(found, args.output)
}

/// Lists the images of the context's registry.
///
/// # Errors
/// When there is none, or it can't be reached.
pub async fn list_of_context(client: &Client, output: Format) -> Result<()> {
    list(Some(client), ListImages { registry: None, plain_http: false, local: false, output }).await
}

async fn of_registry(
    client: Option<&Client>,
    registry: &str,
    plain_http: bool,
    format: Format,
) -> Result<Vec<Listed>> {
    let catalog = Catalog::new(client, registry, plain_http, None)?;
    let mut found = Vec::new();
    for repository in catalog.repositories().await? {
        for tag in catalog.tags(&repository).await? {
            let name = format!("{registry}/{repository}");
            found.push(Listed { name, tag, digest: None, size: None, platforms: Vec::new() });
        }
    }
    if matches!(format, Format::Table | Format::Name) {
        return Ok(found);
    }
    let manifests = RegistryClient::new(registry::options(client, plain_http.then_some(registry)));
    let detailed = futures::stream::iter(found).map(|image| detail(&manifests, image)).buffered(AT_ONCE);
    Ok(detailed.collect().await)
}

/// What the manifest says. An image that is deleted meanwhile stays without.
async fn detail(manifests: &RegistryClient, mut image: Listed) -> Listed {
    let Ok(name) = format!("{}:{}", image.name, image.tag).parse::<ImageName>() else { return image };
    if let Ok(fetched) = manifests.manifest(&name, None).await {
        image.digest = Some(fetched.descriptor.digest.to_string());
        match fetched.document {
            Document::Manifest(manifest) => {
                image.size = Some(manifest.layers.iter().map(|layer| layer.size).sum());
            }
            Document::Index(index) => {
                image.platforms = index.platforms().iter().map(ToString::to_string).collect();
            }
        }
    }
    image
}

async fn local() -> Result<Vec<Listed>> {
    let options = ImagesOptions::for_keeping(registry::user_store()?);
    let opened = tokio::task::spawn_blocking(move || Images::open(options)).await;
    let images = opened
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::failed(crate::contexts::describe(&error)))?;
    let listed = |record: &std::sync::Arc<wharf_image::ImageRecord>| Listed {
        name: format!("{}/{}", record.name.registry(), record.name.repository()),
        tag: record.name.tag().unwrap_or_default().to_owned(),
        digest: Some(record.target.to_string()),
        size: Some(record.size()),
        platforms: vec![record.platform.to_string()],
    };
    Ok(images.list().iter().map(listed).collect())
}

fn print(images: Vec<Listed>, format: Format) -> Result<()> {
    match format {
        Format::Json | Format::Yaml => output::serialise(&images, format),
        Format::Name => images.iter().try_for_each(|image| say(&format!("{}:{}", image.name, image.tag))),
        Format::Table | Format::Wide => Ok(write!(stdout().lock(), "{}", table(images, format).render())?),
    }
}

fn table(images: Vec<Listed>, format: Format) -> Table {
    let wide = format == Format::Wide;
    let headers: &[&str] =
        if wide { &["NAME", "TAG", "SIZE", "PLATFORMS", "DIGEST"] } else { &["NAME", "TAG"] };
    let mut table = Table::new(headers);
    for image in images {
        let mut row = vec![image.name, image.tag];
        if wide {
            row.extend([
                image.size.map_or_else(String::new, rows::memory),
                image.platforms.join(","),
                image.digest.unwrap_or_default(),
            ]);
        }
        table.row(row);
    }
    table
}
