//! `wharf image`.

use crate::{
    cli::{Format, Image, Import, RegistryArgs},
    client::Client,
    failure::{Failure, Result},
    output::{self, Table},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{Write, stdout},
    path::PathBuf,
};
use wharf_image::{
    Credentials, ImageConfig, ImageName, ImageRecord, Images, ImagesOptions, ImportSource, ImportSpec,
    Platform, PullOptions, PullPolicy, PushOptions, RegistryOptions, registry::ClientIdentity,
};

/// Imports, pushes, pulls or lists images.
///
/// # Errors
/// When the registry refuses or can't be reached.
pub async fn image(open: impl Fn() -> Result<Client>, what: Image) -> Result<()> {
    // Without a cluster, registries are trusted by the system's authorities alone.
    let client = open().ok();
    match what {
        Image::Import(args) => import(client.as_ref(), args).await,
        Image::Push { name, registry } => {
            let name = parse(&name)?;
            let images = store(client.as_ref(), &name, &registry, user_store()?).await?;
            push(&images, &name, &registry).await
        }
        Image::Pull { name, platform, registry } => pull(client.as_ref(), &name, platform, &registry).await,
        Image::Ls { registry, plain_http, output } => {
            list(client.as_ref(), registry, plain_http, output).await
        }
    }
}

fn parse(name: &str) -> Result<ImageName> {
    name.parse().map_err(|error| Failure::usage(format!("{error}")))
}

/// Where this user's images are kept.
fn user_store() -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let folder =
        data.or(home).ok_or_else(|| Failure::usage("HOME is not set: there is no place for images"))?;
    Ok(folder.join("wharf/images"))
}

async fn store(
    client: Option<&Client>,
    name: &ImageName,
    args: &RegistryArgs,
    root: PathBuf,
) -> Result<Images> {
    let mut options = ImagesOptions::for_keeping(root);
    options.registry = registry_options(client, args.plain_http.then(|| name.registry().to_owned()));
    let opened = tokio::task::spawn_blocking(move || Images::open(options)).await;
    opened
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::failed(crate::contexts::describe(&error)))
}

/// The cluster's authority is trusted, and its admin's identity shown to registries that ask for one.
fn registry_options(client: Option<&Client>, plain_http: Option<String>) -> RegistryOptions {
    let mut options = RegistryOptions::default();
    if let Some(client) = client {
        options.extra_roots.push(client.credentials.ca_pem().as_bytes().to_vec());
        options.identity = Some(ClientIdentity {
            chain: client.credentials.cert_pem().as_bytes().to_vec(),
            key: client.credentials.key_pem().as_bytes().to_vec(),
        });
    }
    options.plain_http.extend(plain_http);
    options
}

fn credentials(args: &RegistryArgs) -> Result<Option<Credentials>> {
    match &args.auth {
        None => Ok(None),
        Some(text) => match text.split_once(':') {
            Some((user, password)) => {
                Ok(Some(Credentials { username: user.to_owned(), password: password.to_owned() }))
            }
            None => Err(Failure::usage("the registry's user and password are given as user:password")),
        },
    }
}

async fn import(client: Option<&Client>, args: Import) -> Result<()> {
    let name = parse(&args.name)?;
    let words = |text: &Option<String>| -> Vec<String> {
        text.as_deref().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let mut labels = BTreeMap::new();
    for label in &args.label {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("label \"{label}\" is not KEY=VALUE")))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    let config = ImageConfig {
        entrypoint: words(&args.entrypoint),
        cmd: words(&args.cmd),
        env: args.env.clone(),
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        labels,
        ..ImageConfig::default()
    };
    let spec = ImportSpec { config, platform: platform(args.platform.as_deref())?, ..ImportSpec::default() };
    let source = if args.source.is_dir() {
        ImportSource::Folder { path: args.source.clone(), owner: None }
    } else {
        ImportSource::Tar(args.source.clone())
    };
    let folder = tempfile::tempdir()?;
    let images = store(client, &name, &args.registry, folder.path().join("images")).await?;
    eprintln!("importing {}", args.source.display());
    images
        .import(source, spec, &name)
        .await
        .map_err(|error| Failure::failed(crate::contexts::describe(&error)))?;
    push(&images, &name, &args.registry).await
}

async fn push(images: &Images, name: &ImageName, args: &RegistryArgs) -> Result<()> {
    eprintln!("pushing {name}");
    let options = PushOptions { credentials: credentials(args)?, ..PushOptions::default() };
    let digest = images.push(name, &options).await.map_err(|error| Failure::failed(error.to_string()))?;
    println!("{name} {digest}");
    Ok(())
}

fn platform(text: Option<&str>) -> Result<Platform> {
    match text {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|error| Failure::usage(format!("{error}"))),
    }
}

async fn pull(
    client: Option<&Client>,
    name: &str,
    wanted: Option<String>,
    args: &RegistryArgs,
) -> Result<()> {
    let name = parse(name)?;
    let images = store(client, &name, args, user_store()?).await?;
    eprintln!("pulling {name}");
    let options =
        PullOptions { policy: PullPolicy::Always, credentials: credentials(args)?, ..PullOptions::default() };
    let pulled: std::sync::Arc<ImageRecord> = images
        .pull(&name, &platform(wanted.as_deref())?, &options)
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    println!("{name} {}", pulled.target);
    Ok(())
}

/// One image of a registry.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    tag: String,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

/// Lists the images of a registry.
///
/// # Errors
/// When there is none, or it can't be reached.
pub async fn list(
    client: Option<&Client>,
    registry: Option<String>,
    plain_http: bool,
    format: Format,
) -> Result<()> {
    let registry = registry.or_else(|| client.and_then(|client| client.registry.clone())).ok_or_else(|| {
        Failure::usage("no registry is known: name one with --registry, or wharf context set NAME --registry HOST:PORT")
    })?;
    // reqwest takes the process's own provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().timeout(std::time::Duration::from_secs(20));
    if let Some(client) = client {
        let unusable = |error: reqwest::Error| Failure::failed(crate::contexts::describe(&error));
        builder = builder.add_root_certificate(
            reqwest::Certificate::from_pem(client.credentials.ca_pem().as_bytes()).map_err(unusable)?,
        );
    }
    let http = builder.build().map_err(|error| Failure::failed(crate::contexts::describe(&error)))?;
    let base = format!("{}://{registry}/v2", if plain_http { "http" } else { "https" });
    let mut images = Vec::new();
    for name in fetch::<Catalog>(&http, &format!("{base}/_catalog?n=1000")).await?.repositories {
        for tag in fetch::<Tags>(&http, &format!("{base}/{name}/tags/list")).await?.tags.unwrap_or_default() {
            images.push(Listed { name: format!("{registry}/{name}"), tag });
        }
    }
    match format {
        Format::Json | Format::Yaml => output::serialise(&images, format),
        Format::Name => {
            let mut out = stdout().lock();
            for image in &images {
                writeln!(out, "{}:{}", image.name, image.tag)?;
            }
            Ok(())
        }
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["NAME", "TAG"], true);
            for image in images {
                table.row(vec![image.name, image.tag]);
            }
            write!(stdout().lock(), "{}", table.render())?;
            Ok(())
        }
    }
}

async fn fetch<T: for<'de> Deserialize<'de>>(http: &reqwest::Client, url: &str) -> Result<T> {
    let failed = |error: reqwest::Error| Failure::unreachable(crate::contexts::describe(&error));
    let answer = http.get(url).send().await.map_err(failed)?.error_for_status().map_err(failed)?;
    answer.json().await.map_err(failed)
}
