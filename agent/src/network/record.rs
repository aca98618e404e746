//! What is attached, as a file per task: the kernel keeps namespaces and links without us, and these say whose they are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::Protocol;

use super::NetworkError;

/// A task that has a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its ports on the node.
    pub ports: Vec<Published>,
}

/// A port of the node that leads to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Address on the node; none for every one.
    pub host: Option<Ipv4Addr>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Port on the node.
    pub published: u16,
    /// Port of the task.
    pub target: u16,
}

/// The files.
#[derive(Debug)]
pub(super) struct Records(PathBuf);

impl Records {
    pub(super) fn open(folder: &Path) -> Result<Self, NetworkError> {
        fs::create_dir_all(folder).map_err(NetworkError::io("create", folder))?;
        Ok(Records(folder.to_owned()))
    }

    /// All there are. One that can't be read is a task that was being attached when the agent was killed: whoever
    /// looks for leftovers finds its namespace.
    pub(super) fn all(&self) -> Result<BTreeMap<TaskId, Attached>, NetworkError> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.0).map_err(NetworkError::io("read", &self.0))? {
            let path = entry.map_err(NetworkError::io("read", &self.0))?.path();
            let id = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let attached = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let (Some(id), Some(attached)) = (id, attached) {
                all.insert(id, attached);
            }
        }
        Ok(all)
    }

    pub(super) fn put(&self, task: TaskId, attached: &Attached) -> Result<(), NetworkError> {
        let (path, new) = (self.path(task), self.0.join(format!("{task}.new")));
        let written = serde_json::to_vec(attached)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(NetworkError::io("write", &path))
    }

    pub(super) fn remove(&self, task: TaskId) -> Result<(), NetworkError> {
        let path = self.path(task);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, task: TaskId) -> PathBuf {
        self.0.join(format!("{task}.json"))
    }
}
