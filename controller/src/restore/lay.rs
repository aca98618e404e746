//! Laying a data directory from a staged backup.

use super::{RestoreError, Staged};
use crate::{
    bootstrap::{self, ADMIN, ADMIN_LIFETIME, CONTEXT},
    clock,
    data_dir::DataDir,
    raft::{LogStore, begin_at, storage::Position, term_beyond},
    settings::{Settings, Start},
};
use std::path::{Path, PathBuf};
use wharf_cluster::state::Founder;
use wharf_identity::{Authority, ClientContext, Credentials, Identity, Role, SubjectName};
use wharf_proto::codec::encode_snapshot;

/// Makes the data directory that of a new controller of the restored cluster, whatever is in it, and gives its identity.
pub(super) fn lay(
    settings: &Settings,
    data_dir: &DataDir,
    store: &LogStore,
    staged: Staged,
) -> Result<Credentials, RestoreError> {
    let Staged { backup, mut state } = staged;
    let no_cluster = || RestoreError::NoCluster(data_dir.restoring().path().to_owned());
    let info = state.cluster().ok_or_else(no_cluster)?;
    let authority = Authority::from_pem(&info.ca_cert, &info.ca_key)?;
    write_contexts(settings, data_dir, &authority)?;

    let now = clock::now();
    let founder = Founder::New { name: settings.name.clone(), address: settings.advertise.clone() };
    let id = state.begin_again(&founder, now).ok_or_else(no_cluster)?;
    let at = Position { index: backup.header.index + 1, term: term_beyond(backup.header.term, now.0) };
    begin_at(store, id.0, at, |to| encode_snapshot(&state, to))?;

    let names: Vec<SubjectName> = SubjectName::from_address(&settings.advertise).ok().into_iter().collect();
    let identity = Identity::new(authority.cluster(), Role::Controller, &id.to_string())?;
    let credentials = bootstrap::issue::<RestoreError>(
        &authority,
        &identity,
        &names,
        settings.timings.certificate_lifetime,
    )?;
    data_dir.identity().save(&credentials)?;
    data_dir.founding().remove()?;
    data_dir.joining().remove()?;
    data_dir.restored().write(&backup.checksum)?;
    data_dir.restoring().remove()?;
    tracing::warn!(
        cluster = authority.cluster(),
        controller = %id,
        taken = %humantime::format_rfc3339_seconds(clock::system_time(wharf_cluster::ids::Timestamp(backup.header.taken_at))),
        index = backup.header.index,
        "restored the cluster from a backup; what was done after that time is lost"
    );
    Ok(credentials)
}

/// Writes an admin's context of the restored cluster where the settings say. A context of some other cluster is left
/// alone, but for the one in the data directory, which is nobody else's.
fn write_contexts(
    settings: &Settings,
    data_dir: &DataDir,
    authority: &Authority,
) -> Result<(), RestoreError> {
    let own = data_dir.admin_context();
    let mut paths: Vec<PathBuf> = match &settings.start {
        Start::Bootstrap { contexts } | Start::Restore { contexts, .. } => contexts.clone(),
        Start::Join { .. } | Start::Existing => vec![own.clone()],
    };
    let before = data_dir.identity().load().ok().flatten();
    let replaceable = |path: &Path| {
        let Ok(there) = ClientContext::load(path) else { return !path.exists() };
        there.ca_pem == authority.certificate_pem()
            || before.as_ref().is_some_and(|before| before.ca_pem() == there.ca_pem)
    };
    let identity = Identity::new(authority.cluster(), Role::Admin, ADMIN)?;
    let credentials = bootstrap::issue::<RestoreError>(authority, &identity, &[], ADMIN_LIFETIME)?;
    let context = ClientContext::new(CONTEXT, vec![settings.advertise.clone()], &credentials);
    let wanted = paths.len();
    paths.retain(|path| *path == own || replaceable(path));
    if paths.len() < wanted {
        tracing::warn!(
            "a context of another cluster was left as it is; `wharf context add` takes the new one"
        );
        paths.push(own.clone());
    }
    for path in paths {
        context.save(&path)?;
        tracing::info!(path = %path.display(), "wrote an admin's context of the restored cluster");
    }
    Ok(())
}
