//! Renewing certificates before they expire.

use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tracing::{info, warn};
use wharf_proto::v1::RenewRequest;
use wharf_proto::v1::identity_api_client::IdentityApiClient;

use crate::certificate::moment;
use crate::credentials::{Credentials, CredentialsCell};
use crate::dial::DialError;
use crate::dialer::Dialer;
use crate::explain::explain;
use crate::join::WrongAnswer;
use crate::keys::{KeyAndRequest, KeyError};
use crate::store::IdentityFolder;

/// For an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The clock is looked at this often at least, because it may be set, or the machine may sleep.
const NAP: Duration = Duration::from_secs(10 * 60);

/// When credentials are due for renewal: from 3/5 of their lifetime on, and at 2/3 of it at the
/// latest. Each certificate has its own moment in between, so that nodes which joined together
/// don't all come back together.
pub(crate) fn renewal_due(credentials: &Credentials) -> SystemTime {
    let lifetime = credentials.lifetime();
    let hash = digest(&SHA256, credentials.cert_der());
    let early = lifetime / 15 * u32::from(hash.as_ref()[0]) / 256;
    credentials.not_after() - lifetime / 3 - early
}

/// What to wait after so many failures in a row: from a thousandth of the lifetime (1 s to 1 min),
/// doubling up to a twentieth (1 s to 1 h).
fn retry_pause(lifetime: Duration, failures: u32) -> Duration {
    let shortest = Duration::from_secs(1);
    let first = (lifetime / 1000).clamp(shortest, Duration::from_secs(60));
    let last = (lifetime / 20).clamp(shortest, Duration::from_secs(3600));
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(last)
}

/// Keeps the cell's certificate fresh, in the cell and in the folder, until the task is aborted.
pub fn spawn_renewal(cell: CredentialsCell, folder: IdentityFolder, dialer: Dialer) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut failures = 0;
        loop {
            let current = cell.get();
            sleep_until(renewal_due(&current)).await;
            match renew_through(&dialer, &current).await {
                Ok(renewed) => {
                    failures = 0;
                    info!(identity = %renewed.identity(), until = moment(renewed.not_after()), "renewed the certificate");
                    // In use even if it can't be saved: the old one would expire all the same.
                    cell.set(renewed.clone());
                    if let Err(error) = folder.save(&renewed) {
                        warn!(%error, "the renewed certificate is in use, but not saved");
                    }
                }
                Err(error) => {
                    failures += 1;
                    let until = moment(current.not_after());
                    warn!(identity = %current.identity(), %error, until, failures, "cannot renew the certificate yet");
                    tokio::time::sleep(retry_pause(current.lifetime(), failures)).await;
                }
            }
        }
    })
}

async fn renew_through(dialer: &Dialer, current: &Credentials) -> Result<Credentials, RenewError> {
    let connected = dialer.connect().await?;
    let renewed = renew(current, connected.channel).await;
    if let Err(RenewError::Refused { .. } | RenewError::TimedOut) = &renewed {
        dialer.demote(&connected.address);
    }
    renewed
}

/// Asks for a new certificate, on a new key, with the same identity. The channel must present the
/// current one.
pub async fn renew(current: &Credentials, channel: Channel) -> Result<Credentials, RenewError> {
    let key = KeyAndRequest::generate()?;
    let mut client = IdentityApiClient::new(channel);
    let call = client.renew(RenewRequest { csr_pem: key.csr_pem });
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, call)
        .await
        .map_err(|_| RenewError::TimedOut)?
        .map_err(|status| RenewError::Refused {
            message: explain(&status).unwrap_or_else(|| status.message().to_owned()),
        })?
        .into_inner();
    let renewed = Credentials::from_pem(&answer.ca_pem, &answer.cert_pem, &key.key_pem)
        .map_err(WrongAnswer::Credentials)?;
    if renewed.ca_hash() != current.ca_hash() {
        return Err(WrongAnswer::Authority.into());
    }
    if renewed.identity() != current.identity() {
        return Err(WrongAnswer::Identity.into());
    }
    Ok(renewed)
}

async fn sleep_until(due: SystemTime) {
    while let Ok(left) = due.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(NAP)).await;
    }
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The controller said no.
    #[error("the controller refused: {message}")]
    Refused {
        /// What it said.
        message: String,
    },
    /// The controller said nothing.
    #[error("the controller did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    /// The controller's answer can't be used.
    #[error("the new certificate can't be used: {0}")]
    Answer(#[from] WrongAnswer),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Identity, Role};

    #[test]
    fn renewal_is_due_between_three_fifths_and_two_thirds_of_the_lifetime() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = Authority::create("c1", now).unwrap();
        let identity = Identity::new("c1", Role::Agent, "n1").unwrap();
        let lifetime = Duration::from_secs(90 * 24 * 3600);
        let mut due = Vec::new();
        for _ in 0..8 {
            let key = KeyAndRequest::generate().unwrap();
            let cert = authority.issue(&key.csr_pem, &identity, &[], now, lifetime).unwrap();
            let credentials =
                Credentials::from_pem(authority.certificate_pem(), &cert, &key.key_pem).unwrap();
            assert_eq!(credentials.lifetime(), lifetime);
            due.push(renewal_due(&credentials).duration_since(now).unwrap());
        }
        for at in &due {
            assert!((lifetime * 3 / 5..=lifetime * 2 / 3).contains(at), "{at:?}");
        }
        due.sort();
        due.dedup();
        assert!(due.len() > 1, "all at the same moment");
    }

    #[test]
    fn failures_are_retried_soon_then_less_often_and_always_before_expiry() {
        let days = Duration::from_secs(90 * 24 * 3600);
        assert_eq!(retry_pause(Duration::from_secs(3), 1), Duration::from_secs(1));
        assert_eq!(retry_pause(Duration::from_secs(3), 50), Duration::from_secs(1));
        assert_eq!(retry_pause(days, 1), Duration::from_secs(60));
        assert_eq!(retry_pause(days, 3), Duration::from_secs(240));
        assert_eq!(retry_pause(days, u32::MAX), Duration::from_secs(3600));
    }
}
