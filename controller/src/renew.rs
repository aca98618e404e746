//! This controller's own certificate: renewed like everybody's, and, since a controller can sign, brought back when it
//! has expired while the controller was off.

use crate::{
    authority::{authority, sign_again},
    core::Core,
    replica::Change,
};
use std::{sync::Arc, time::SystemTime};
use thiserror::Error;
use wharf_cluster::{event::Event, state::State};
use wharf_identity::{
    Credentials, CredentialsCell, CredentialsError, Dialer, IdentityFolder, KeyAndRequest, KeyError, Leaf,
    spawn_renewal,
};

/// Keeps the certificate fresh, for ever.
pub async fn run(core: Arc<Core>, cell: CredentialsCell, folder: IdentityFolder) {
    let mut changes = core.published.subscribe();
    let dialer = Dialer::new(addresses(&core), cell.clone());
    let renewal = spawn_renewal(cell, folder, dialer.clone());
    let _ended_with_this = AbortOnDrop(renewal);
    while let Some(change) = changes.next().await {
        let other = match change {
            Change::Everything => true,
            Change::Batch(batch) => batch.events.iter().any(|event| {
                matches!(event, Event::ControllerRecorded { .. } | Event::ControllerRemoved { .. })
            }),
        };
        if other {
            dialer.set_addresses(addresses(&core));
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Any controller can renew, this one too.
fn addresses(core: &Core) -> Vec<String> {
    let state = core.published.state();
    let others = state.controllers().filter(|known| known.id != core.id);
    std::iter::once(core.advertise.clone()).chain(others.map(|known| known.address.clone())).collect()
}

/// Signs a new certificate for this controller if its own has expired: nobody would talk to it otherwise. It has the
/// authority's key all the same.
pub fn if_expired(core: &Core, cell: &CredentialsCell, folder: &IdentityFolder) {
    let held = cell.get();
    if !held.is_expired(SystemTime::now()) {
        return;
    }
    match renewed(core, &core.published.state(), &held) {
        Ok(renewed) => {
            tracing::warn!("this controller's certificate had expired; it has signed itself a new one");
            if let Err(error) = folder.save(&renewed) {
                tracing::warn!(%error, "the new certificate is in use, but not saved");
            }
            cell.set(renewed);
        }
        Err(error) => tracing::error!(%error, "this controller's certificate has expired"),
    }
}

#[derive(Debug, Error)]
enum RenewError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{}", .0.message())]
    Sign(tonic::Status),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

fn renewed(core: &Core, state: &State, held: &Credentials) -> Result<Credentials, RenewError> {
    let authority = authority(state).map_err(RenewError::Sign)?;
    let key = KeyAndRequest::generate()?;
    let leaf: &Leaf = held.leaf();
    let certificate = sign_again(&authority, &core.timings, &key.csr_pem, leaf).map_err(RenewError::Sign)?;
    Ok(Credentials::from_pem(authority.certificate_pem(), &certificate, &key.key_pem)?)
}
