//! Network namespaces, kept by a bind mount until a file is unmounted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use wharf_cluster::ids::TaskId;

use super::NetworkError;

/// The folder with a file per namespace.
#[derive(Debug, Clone)]
pub(super) struct Namespaces(PathBuf);

impl Namespaces {
    pub(super) fn open(folder: &Path) -> Result<Self, NetworkError> {
        fs::create_dir_all(folder).map_err(NetworkError::io("create", folder))?;
        Ok(Namespaces(folder.to_owned()))
    }

    pub(super) fn path(&self, task: TaskId) -> PathBuf {
        self.0.join(task.to_string())
    }

    /// All there are, whole or not.
    pub(super) fn all(&self) -> Result<Vec<TaskId>, NetworkError> {
        let entries = fs::read_dir(&self.0).map_err(NetworkError::io("read", &self.0))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Makes a namespace. Its thread ends with this call, and never runs anything else.
    pub(super) fn create(&self, task: TaskId) -> Result<PathBuf, NetworkError> {
        let path = self.path(task);
        File::create(&path).map_err(NetworkError::io("create", &path))?;
        let made = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        });
        if let Err(error) = made {
            // An empty file is no namespace.
            let _ = fs::remove_file(&path);
            return Err(NetworkError::io("make a network namespace at", &path)(error));
        }
        Ok(path)
    }

    /// Lets a namespace go; the kernel takes its links with it once no process is in it.
    pub(super) fn remove(&self, task: TaskId) -> Result<(), NetworkError> {
        let path = self.path(task);
        match umount2(&path, MntFlags::MNT_DETACH) {
            // It may be a file that was never mounted on, or nothing.
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(NetworkError::io("unmount", &path)(error.into())),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a network namespace is mounted at a path: it isn't after the machine has restarted.
pub(super) fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Runs something inside a network namespace, such as opening a socket that belongs to it.
pub(super) fn inside<T: Send>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T, NetworkError> {
    let entered = on_own_thread(|| {
        setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
        work()
    });
    entered.map_err(NetworkError::io("enter the network namespace", path))
}

/// A namespace is a thread's, so nothing may run on the thread afterwards.
fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .stack_size(128 << 10)
            .spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}
