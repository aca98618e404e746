//! This node's identity in the cluster: kept in the data directory, or got by joining.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use wharf_identity::{Credentials, IdentityFolder, JoinDetails, JoinToken, Role, join};
use wharf_proto::v1::NodeDescription;

const FOLDER: &str = "identity";
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Who this node is, and the controllers it heard of when it joined just now.
pub struct Membership {
    /// The identity.
    pub credentials: Credentials,
    /// Where it is kept.
    pub folder: IdentityFolder,
    /// Controllers; empty if it had joined before.
    pub controllers: Vec<String>,
}

/// Where the identity is kept.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// Takes the identity that is there, else joins.
///
/// # Errors
/// When there is none and the cluster doesn't let us in, or when one is there that can't be used.
pub async fn membership(
    data_dir: &Path,
    addresses: &[String],
    token: Option<&JoinToken>,
    description: NodeDescription,
) -> Result<Membership> {
    let folder = IdentityFolder::new(folder(data_dir));
    if let Some(held) = folder.load()? {
        if let Some(token) = token
            && held.ca_hash() != token.ca_hash
        {
            bail!(
                "{} holds an identity in another cluster than the token is for: empty the data directory to join \
                 this one",
                folder.path().display()
            );
        }
        if !held.is_expired(SystemTime::now()) {
            return Ok(Membership { credentials: held, folder, controllers: Vec::new() });
        }
        if token.is_none() {
            bail!(
                "the certificate in {} has expired: join again with --join and a token from \
                 `wharf token show --role agent`",
                folder.path().display()
            );
        }
    }
    let Some(token) = token.filter(|_| !addresses.is_empty()) else {
        bail!(
            "this node has not joined a cluster yet: give --join with a controller's HOST:PORT, and the token that \
             `wharf token show --role agent` prints"
        );
    };
    let details = JoinDetails {
        role: Role::Agent,
        name: description.hostname.clone(),
        advertise_address: String::new(),
        names: Vec::new(),
        description: Some(description),
        level: 0,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match join(addresses, token, details.clone(), &folder).await {
            Ok(joined) => {
                tracing::info!(identity = %joined.credentials.identity(), "joined the cluster");
                let (credentials, controllers) = (joined.credentials, joined.controllers);
                return Ok(Membership { credentials, folder, controllers });
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, seconds = pause.as_secs(), "can't join yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error).context("joining the cluster"),
        }
    }
}
