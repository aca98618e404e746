//! What is on this node when the agent starts: the stored assignment, and whatever earlier agents made, whether or not
//! anybody still wants it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::NetworkMode;
use wharf_runtime::api::{Started, Status as ContainerStatus};

use super::{Entry, Idle, Parts, Prepared, StartError, Wanted};
use crate::plan::{Container, Observed};
use crate::spec::anonymous_folder;
use crate::task::Assigned;

pub(super) async fn recover(parts: &Parts) -> Result<BTreeMap<TaskId, Entry>, StartError> {
    let mut assigned: BTreeMap<TaskId, Assigned> = BTreeMap::new();
    for record in parts.store.tasks()? {
        match Assigned::try_from(record) {
            Ok(task) => {
                assigned.insert(task.id, task);
            }
            // Written by another version; the controller tells it again.
            Err(error) => tracing::warn!(error, "passing over a stored task"),
        }
    }
    let mut seen: BTreeMap<TaskId, Observed> = assigned.keys().map(|id| (*id, Observed::NOTHING)).collect();
    for (id, status) in parts.store.statuses()? {
        of(&mut seen, id).state = Some(status.state);
    }
    let mut running: BTreeMap<TaskId, Started> = BTreeMap::new();
    for listed in parts.runtime.list().await? {
        let Ok(id) = listed.id.parse::<TaskId>() else {
            tracing::warn!(container = listed.id, "a container that is nobody's task is left alone");
            continue;
        };
        let one = of(&mut seen, id);
        one.leftovers = true;
        one.container = match listed.status {
            ContainerStatus::Running(started) => {
                running.insert(id, started);
                Container::Running
            }
            ContainerStatus::Exited(_) => Container::Ended,
            // Its start was never reported: what is left of it goes when it is started again, or cleaned.
            ContainerStatus::Failed(reason) => {
                tracing::warn!(task = %id, reason, "found a container that was never started");
                parts.runtime.delete(&listed.id).await?;
                Container::None
            }
        };
    }
    let attached = parts.network.attached();
    for id in attached.keys() {
        of(&mut seen, *id).leftovers = true;
    }
    let mut mounted: BTreeMap<TaskId, bool> = BTreeMap::new();
    for (id, is_mounted) in parts.images.prepared().await? {
        of(&mut seen, id).leftovers = true;
        mounted.insert(id, is_mounted);
    }
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Folder { path, source }
    };
    for id in tasks_in(&parts.places.files).map_err(unusable(&parts.places.files))? {
        of(&mut seen, id).leftovers = true;
    }
    // Anonymous volumes outlive the container and go with the task.
    if let Some(folder) = anonymous_folder(&parts.places.volumes, TaskId(0)).parent() {
        for id in tasks_in(folder).map_err(unusable(folder))? {
            of(&mut seen, id);
        }
    }
    for (id, one) in &mut seen {
        let networked = match assigned.get(id).map(|task| &task.container) {
            Some(Ok(spec)) => spec.network_mode != NetworkMode::Bridge || attached.contains_key(id),
            _ => true,
        };
        let known = || Prepared::load(&parts.places.folder(*id)).is_some();
        one.prepared = networked && mounted.get(id) == Some(&true) && known();
    }
    let entry = |(id, seen): (TaskId, Observed)| {
        let wanted = Wanted(assigned.remove(&id).map(Arc::new));
        let idle = Idle { seen, started: running.remove(&id) };
        (id, Entry { wanted: watch::Sender::new(wanted), idle: Some(idle) })
    };
    Ok(seen.into_iter().map(entry).collect())
}

fn of(seen: &mut BTreeMap<TaskId, Observed>, id: TaskId) -> &mut Observed {
    seen.entry(id).or_insert(Observed::NOTHING)
}

/// Tasks that have an entry in a folder.
fn tasks_in(folder: &Path) -> io::Result<Vec<TaskId>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}
