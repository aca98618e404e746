//! Compiled system call filters, each made once by the program `wharf-shim` (the agent itself
//! is not linked with libseccomp) and kept in memory.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use libcontainer::oci_spec::runtime::LinuxSeccomp;

/// Most filters kept: one for each set of capabilities and profile in use.
const MAX_FILTERS: usize = 64;

/// The compiled filters of a node.
#[derive(Debug)]
pub(crate) struct Filters {
    shim: PathBuf,
    by_source: Mutex<HashMap<Vec<u8>, Arc<Vec<u8>>>>,
}

impl Filters {
    pub(crate) fn new(shim: PathBuf) -> Self {
        Self { shim, by_source: Mutex::default() }
    }

    /// The compiled form of a filter. Others who want one meanwhile wait, most likely for the same.
    pub(crate) fn compiled(&self, seccomp: &LinuxSeccomp) -> Result<Arc<Vec<u8>>, String> {
        let source = serde_json::to_vec(seccomp).map_err(|e| e.to_string())?;
        let mut filters = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filters.get(&source) {
            return Ok(Arc::clone(filter));
        }
        let filter = Arc::new(self.compile(&source)?);
        if filters.len() >= MAX_FILTERS {
            filters.clear();
        }
        filters.insert(source, Arc::clone(&filter));
        Ok(filter)
    }

    fn compile(&self, source: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |error: std::io::Error| format!("can't run {}: {error}", self.shim.display());
        let mut child = Command::new(&self.shim)
            .arg("seccomp")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // The program reads all before it writes anything. If it does not read, its own error says why.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(source));
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        written.map_err(failed)?;
        Ok(output.stdout)
    }
}
