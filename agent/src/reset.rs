//! Makes a machine as if no agent had been there: stops its containers and removes everything that is its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};
use wharf_identity::IdentityFolder;
use wharf_runtime::host::HostFacts;

use crate::cli::Cli;
use crate::membership;
use crate::node;
use crate::worker::Change;

/// How long containers may take to stop: their own grace periods, within reason.
const WAIT: Duration = Duration::from_secs(120);
const CGROUP_WAIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Stops and removes all that agents left in the data and run directories, and the directories.
///
/// # Errors
/// When an agent runs there, or something can't be stopped or removed; doing it again is fine.
pub async fn reset(cli: &Cli) -> Result<()> {
    if !cli.data_dir.exists() {
        return remove_dir(&cli.run_dir);
    }
    let foundation = node::Foundation::lay(cli)?;
    let identity = IdentityFolder::new(membership::folder(&foundation.data_dir)).load()?;
    // Without an identity no container was ever started.
    if let Some(credentials) = identity {
        let parent = node::cgroup_parent(credentials.identity());
        let name = cli.node_name()?;
        let (worker, bridge) = node::worker(cli, &foundation, &credentials, name).await?;
        worker.assign(Change { generation: worker.held(), full: true, ..Change::default() }).await?;
        let deadline = Instant::now() + WAIT;
        while !worker.states().is_empty() {
            if Instant::now() > deadline {
                bail!("{} tasks did not stop: try again", worker.states().len());
            }
            sleep(LOOK).await;
        }
        bridge.remove().await?;
        remove_cgroups(&foundation.host, &parent).await;
    }
    let (data_dir, run_dir) = (foundation.data_dir.clone(), foundation.run_dir.clone());
    drop(foundation);
    remove_dir(&run_dir)?;
    remove_dir(&data_dir)
}

/// The directory's content goes, and the directory itself unless something is mounted on it.
fn remove_dir(path: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("can't read {}", path.display()))?.path();
        let removed = if entry.is_dir() && !entry.is_symlink() {
            std::fs::remove_dir_all(&entry)
        } else {
            std::fs::remove_file(&entry)
        };
        removed.with_context(|| format!("can't remove {}", entry.display()))?;
    }
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
        other => other.with_context(|| format!("can't remove {}", path.display())),
    }
}

/// The groups that this node's containers were in, in every hierarchy; empty by now, or as soon as the kernel has done
/// with the processes that were in them.
async fn remove_cgroups(host: &HostFacts, parent: &str) {
    let deadline = Instant::now() + CGROUP_WAIT;
    for mount in &host.cgroup_mounts {
        let group = mount.path.join(parent.trim_start_matches('/'));
        while group.exists() && std::fs::remove_dir(&group).is_err() {
            if Instant::now() > deadline {
                tracing::warn!(group = %group.display(), "a cgroup is left: something is in it");
                break;
            }
            sleep(LOOK).await;
        }
        if let Some(common) = group.parent() {
            // Not there, or used by another agent.
            let _ = std::fs::remove_dir(common);
        }
    }
}
