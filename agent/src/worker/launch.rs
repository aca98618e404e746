//! Starts containers, and takes away what is left of them.

use std::io;
use std::path::Path;

use wharf_cluster::ids::TaskId;
use wharf_runtime::api::CreateError;

use super::Worker;
use super::prepare::Failure;
use super::runner::Runner;
use crate::plan::Container;
use crate::spec::anonymous_folder;
use crate::task::Assigned;

impl Runner {
    pub(super) async fn start(&mut self, task: &Assigned) {
        let Some(request) = self.prepared.as_ref().map(super::Prepared::request) else {
            // It is made again.
            self.seen.prepared = false;
            return;
        };
        match self.worker.parts.runtime.clone().create(request).await {
            Ok(started) => {
                self.started = Some(started);
                self.seen.container = Container::Running;
            }
            // An earlier attempt got through, though nobody heard of it.
            Err(CreateError::Exists(_)) => {
                self.look().await;
                if self.seen.container == Container::None {
                    self.wait_a_little().await;
                }
            }
            Err(error) => {
                tracing::warn!(task = %self.id, name = task.name, %error, "a container was not started");
                let refused = matches!(error, CreateError::Invalid(_) | CreateError::UnknownRuntime { .. });
                self.report(Failure::new(refused, error).status());
            }
        }
    }
}

impl Worker {
    /// Takes away what a task that has ended doesn't need: container, network, root filesystem, files.
    pub(super) async fn clean(&self, id: TaskId) -> Result<(), String> {
        // The semaphore is never closed.
        let _permit = self.cleaning.acquire().await;
        let parts = &self.parts;
        parts.runtime.delete(&id.to_string()).await.map_err(|error| error.to_string())?;
        parts.network.detach(id).await.map_err(|error| error.to_string())?;
        parts.images.remove(id).await.map_err(|error| error.to_string())?;
        remove_folder(&parts.places.folder(id))
    }

    /// Takes away what is left of a task that nobody will ask for again: logs, anonymous volumes, records.
    pub(super) async fn remove_traces(&self, id: TaskId) -> Result<(), String> {
        let parts = &self.parts;
        parts.runtime.remove_logs(&id.to_string()).await.map_err(|error| error.to_string())?;
        let volumes = anonymous_folder(&parts.places.volumes, id);
        if volumes.exists() {
            let removed = tokio::task::spawn_blocking(move || remove_folder(&volumes)).await;
            removed.map_err(|error| error.to_string())??;
        }
        self.history.forget(id);
        parts.store.forget(id);
        parts.reports.forget(id);
        Ok(())
    }
}

fn remove_folder(path: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("can't remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}
