//! The OCI runtimes a node offers, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the runtime that is built in.
pub const EMBEDDED: &str = "wharf";

/// What a name in the table stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// libcontainer, inside the shim.
    Embedded,
    /// A program with runc's command line.
    Program(PathBuf),
}

/// Why a runtime can't be in the table.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeTableError {
    /// A flag has not the form `name=/path`.
    #[error("{0:?} is not of the form NAME=/absolute/path, such as runc=/usr/sbin/runc")]
    Form(String),
    /// The name is taken.
    #[error("the name {0:?} is taken by another runtime")]
    Taken(String),
    /// There is no program at the path.
    #[error("{0} is not an executable file")]
    NotExecutable(PathBuf),
    /// The default is not in the table.
    #[error("no runtime named {0:?}; give its path with NAME=/absolute/path")]
    Unknown(String),
}

/// The table of runtimes. The embedded one is always in it, and the default unless another is chosen.
#[derive(Debug, Clone)]
pub struct Runtimes {
    by_name: BTreeMap<String, Runtime>,
    default: String,
}

impl Default for Runtimes {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::from([(EMBEDDED.to_owned(), Runtime::Embedded)]),
            default: EMBEDDED.to_owned(),
        }
    }
}

impl Runtimes {
    /// Adds the runtime of a flag such as `runc=/usr/sbin/runc`.
    ///
    /// # Errors
    /// If the flag has another form, the name is taken, or there is no such program.
    pub fn add(&mut self, flag: &str) -> Result<(), RuntimeTableError> {
        let form = || RuntimeTableError::Form(flag.to_owned());
        let (name, path) = flag.split_once('=').ok_or_else(form)?;
        if name.is_empty() || !Path::new(path).is_absolute() {
            return Err(form());
        }
        let path = PathBuf::from(path);
        let usable = path.is_file() && nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok();
        if !usable {
            return Err(RuntimeTableError::NotExecutable(path));
        }
        if self.by_name.contains_key(name) {
            return Err(RuntimeTableError::Taken(name.to_owned()));
        }
        self.by_name.insert(name.to_owned(), Runtime::Program(path));
        Ok(())
    }

    /// Chooses the runtime of containers that name none.
    ///
    /// # Errors
    /// If it is not in the table.
    pub fn set_default(&mut self, name: &str) -> Result<(), RuntimeTableError> {
        if !self.by_name.contains_key(name) {
            return Err(RuntimeTableError::Unknown(name.to_owned()));
        }
        name.clone_into(&mut self.default);
        Ok(())
    }

    /// The runtime of a name, or the default.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Runtime> {
        self.by_name.get(name.unwrap_or(&self.default))
    }

    /// All names, the default first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let others = self.by_name.keys().filter(|n| **n != self.default).cloned();
        std::iter::once(self.default.clone()).chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_add_and_choose() {
        let mut table = Runtimes::default();
        table.add("shell=/bin/sh").unwrap();
        table.set_default("shell").unwrap();
        assert_eq!(table.names(), ["shell", "wharf"]);
        assert_eq!(table.get(None), Some(&Runtime::Program("/bin/sh".into())));
        assert_eq!(table.get(Some("wharf")), Some(&Runtime::Embedded));
        assert_eq!(table.get(Some("kata")), None);
    }

    #[test]
    fn wrong_flags_say_what_is_wrong() {
        let mut table = Runtimes::default();
        assert!(matches!(table.add("runc"), Err(RuntimeTableError::Form(_))));
        assert!(matches!(table.add("runc=bin/runc"), Err(RuntimeTableError::Form(_))));
        assert!(matches!(table.add("runc=/etc/passwd"), Err(RuntimeTableError::NotExecutable(_))));
        assert!(matches!(table.add("wharf=/bin/sh"), Err(RuntimeTableError::Taken(_))));
        assert!(matches!(table.set_default("kata"), Err(RuntimeTableError::Unknown(_))));
    }
}
