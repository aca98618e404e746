//! How registries are reached, and where images are kept on this machine.

use crate::{
    cli::RegistryArgs,
    client::Client,
    contexts::describe,
    failure::{Failure, Result},
};
use std::path::PathBuf;
use wharf_image::{Credentials, ImageName, Images, ImagesOptions, RegistryOptions, registry::ClientIdentity};

/// Where a registry user's password is taken from: not from the command line, which every user of the machine sees.
const PASSWORD: &str = "WHARF_REGISTRY_PASSWORD";

/// The cluster's authority is trusted, and its admin's identity shown to registries that ask for one of its.
pub fn options(client: Option<&Client>, plain_http: Option<&str>) -> RegistryOptions {
    let mut options = RegistryOptions::default();
    if let Some(client) = client {
        options.extra_roots.push(client.credentials.ca_pem().as_bytes().to_vec());
        options.identity = Some(ClientIdentity {
            chain: client.credentials.cert_pem().as_bytes().to_vec(),
            key: client.credentials.key_pem().as_bytes().to_vec(),
        });
    }
    options.plain_http.extend(plain_http.map(str::to_owned));
    options
}

/// The user to be for a registry.
///
/// # Errors
/// When a user is named and no password is there.
pub fn credentials(args: &RegistryArgs) -> Result<Option<Credentials>> {
    let Some(username) = args.user_name.clone() else { return Ok(None) };
    match std::env::var(PASSWORD) {
        Ok(password) => Ok(Some(Credentials { username, password })),
        Err(_) => Err(Failure::usage(format!("{PASSWORD} is not set: put the password of {username} there"))),
    }
}

/// Opens a folder of images.
///
/// # Errors
/// When it can't be read or made.
pub async fn open(
    client: Option<&Client>,
    name: &ImageName,
    plain_http: bool,
    root: PathBuf,
) -> Result<Images> {
    let mut kept = ImagesOptions::for_keeping(root);
    kept.registry = options(client, plain_http.then(|| name.registry()));
    let opened = tokio::task::spawn_blocking(move || Images::open(kept)).await;
    opened
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::failed(describe(&error)))
}

/// Where this user's images are kept.
///
/// # Errors
/// When there is no home.
pub fn user_store() -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match data {
        Some(folder) => Ok(folder.join("wharf/images")),
        None => Err(Failure::usage("neither HOME nor XDG_DATA_HOME is set: there is no place for images")),
    }
}
