//! The registry as a member of a cluster: it joins once with a token, keeps its identity in a folder, and
//! renews its certificate.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustls::ServerConfig;
use wharf_identity::{
    Credentials, CredentialsCell, Dialer, IdentityFolder, JoinDetails, JoinToken, Joined, Protocols, Role,
    SubjectName, join, server_config as identity_config, spawn_renewal,
};

use crate::args::ServeArgs;

const FOLDER: &str = "identity";
/// Where the cluster's controllers are, one a line, as they said when the registry joined.
const CONTROLLERS: &str = "controllers";
/// Pauses between two tries to join, while no controller answers.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// TLS settings that present the cluster's certificate, which is kept fresh while the process lives.
/// `None` when the registry neither is a member of a cluster nor was told to join one.
pub(crate) async fn server_config(args: &ServeArgs) -> Result<Option<Arc<ServerConfig>>> {
    let folder = IdentityFolder::new(args.data_dir.join(FOLDER));
    let token = args.token.as_deref().map(str::parse::<JoinToken>).transpose().context("--token")?;
    let held = folder.load()?;
    if let (Some(held), Some(token)) = (&held, &token)
        && held.ca_hash() != token.ca_hash
    {
        bail!(
            "{} holds an identity in another cluster than the token is for: remove that folder to join this one",
            folder.path().display()
        );
    }
    let usable = held.filter(|held| !held.is_expired(SystemTime::now()));
    let credentials = match (usable, token) {
        (Some(credentials), _) => {
            warn_of_missing_names(&credentials, args, folder.path());
            credentials
        }
        (None, Some(token)) if !args.join.is_empty() => first_join(args, &token, &folder).await?.credentials,
        (None, Some(_)) => bail!("--token needs --join with the address of a controller"),
        (None, None) if !args.join.is_empty() => {
            bail!("--join needs --token: `wharf token show --role registry` prints it")
        }
        (None, None) => return Ok(None),
    };
    tracing::info!(identity = %credentials.identity(), "member of a cluster");
    let cell = CredentialsCell::new(credentials);
    let controllers = known_controllers(args, folder.path())?;
    // Left to run: it ends with the process.
    drop(spawn_renewal(cell.clone(), folder, Dialer::new(controllers, cell.clone())));
    Ok(Some(identity_config(&cell, Protocols::Http2AndHttp1)?))
}

async fn first_join(args: &ServeArgs, token: &JoinToken, folder: &IdentityFolder) -> Result<Joined> {
    let names = names(args)?;
    let details = JoinDetails {
        role: Role::Registry,
        name: host_name()?,
        advertise_address: advertise_address(args, &names),
        names: names.iter().map(ToString::to_string).collect(),
        description: None,
        level: 0,
    };
    let mut pause = FIRST_PAUSE;
    let joined = loop {
        match join(&args.join, token, details.clone(), folder).await {
            Ok(joined) => break joined,
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, seconds = pause.as_secs(), "cannot join yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error).context("joining the cluster"),
        }
    };
    let path = folder.path().join(CONTROLLERS);
    std::fs::write(&path, joined.controllers.join("\n"))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(joined)
}

/// The names that the certificate should have.
fn names(args: &ServeArgs) -> Result<Vec<SubjectName>> {
    if args.advertise.is_empty() {
        let mut names = vec![host_name()?.parse().context("this machine's host name: give --advertise")?];
        if !args.listen.ip().is_unspecified() {
            names.push(SubjectName::Ip(args.listen.ip()));
        }
        return Ok(names);
    }
    let read = |text: &String| SubjectName::from_address(text).context("--advertise");
    args.advertise.iter().map(read).collect()
}

/// Where others reach the registry: the first name, with the port listened on unless it has its own.
fn advertise_address(args: &ServeArgs, names: &[SubjectName]) -> String {
    let port = match args.advertise.first().and_then(|text| text.rsplit_once(':')) {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => port.parse().ok(),
        _ => None,
    };
    let port: u16 = port.unwrap_or(args.listen.port());
    match names.first() {
        Some(SubjectName::Ip(ip)) => std::net::SocketAddr::new(*ip, port).to_string(),
        Some(name) => format!("{name}:{port}"),
        None => String::new(),
    }
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("this machine's host name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// Renewal keeps a certificate's names, so that new ones come only with a new identity.
fn warn_of_missing_names(credentials: &Credentials, args: &ServeArgs, folder: &Path) {
    let Ok(wanted) = names(args) else { return };
    for name in wanted.iter().filter(|name| !credentials.leaf().names.contains(name)) {
        tracing::warn!(
            %name,
            folder = %folder.display(),
            "the certificate does not have this name: to get one that does, remove the folder and join again"
        );
    }
}

fn known_controllers(args: &ServeArgs, folder: &Path) -> Result<Vec<String>> {
    let path = folder.join(CONTROLLERS);
    let saved = match std::fs::read_to_string(&path) {
        Ok(saved) => saved,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let given = args.join.iter().map(String::as_str);
    let known: BTreeSet<_> = given.chain(saved.lines()).filter(|line| !line.is_empty()).collect();
    Ok(known.into_iter().map(str::to_owned).collect())
}
