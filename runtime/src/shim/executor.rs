//! The last step of a container's process under the embedded runtime: find the program, load the
//! system call filter, become the program.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::unistd::{AccessFlags, access, execve};

use super::process::reset_signals;
use super::report::ErrorReport;
use super::seccomp::Program;

/// Runs a container's command. Unlike libcontainer's own executor it tells a missing command from one that
/// can't be executed as Docker does, and loads a filter that was compiled beforehand.
#[derive(Clone)]
pub(crate) struct CommandExecutor {
    pub(crate) filter: Option<Program>,
    pub(crate) report: ErrorReport,
}

impl Executor for CommandExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        process(spec).and_then(find_program).map(drop).map_err(ExecutorValidationError::ArgValidationError)
    }

    /// The program gets exactly the spec's environment, in [`Self::exec`].
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        // libcontainer no longer listens here, so that only the report reaches the shim.
        self.become_program(spec).inspect_err(|error| self.report.failed(&error.to_string()))
    }
}

impl CommandExecutor {
    fn become_program(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = process(spec).map_err(ExecutorError::Other)?;
        let program = find_program(process).map_err(ExecutorError::Other)?;
        let path = c_string(program.as_os_str().as_bytes())?;
        let args = c_strings(process.args())?;
        let env = c_strings(process.env())?;
        reset_signals();
        if let Some(filter) = &self.filter {
            filter.load().map_err(|e| ExecutorError::Other(format!("can't load the seccomp filter: {e}")))?;
        }
        let Err(error) = execve(&path, &args, &env);
        Err(ExecutorError::Other(cannot_run(process, &error.to_string())))
    }
}

fn process(spec: &Spec) -> Result<&Process, String> {
    spec.process().as_ref().ok_or_else(|| "the spec has no process".to_owned())
}

fn c_string(bytes: &[u8]) -> Result<CString, ExecutorError> {
    CString::new(bytes).map_err(|_| ExecutorError::InvalidArg)
}

fn c_strings(list: &Option<Vec<String>>) -> Result<Vec<CString>, ExecutorError> {
    list.iter().flatten().map(|text| c_string(text.as_bytes())).collect()
}

fn cannot_run(process: &Process, reason: &str) -> String {
    let name = process.args().iter().flatten().next().map_or("", String::as_str);
    format!("exec: {name:?}: {reason}")
}

/// The program that the command names, as the container's user sees it.
fn find_program(process: &Process) -> Result<PathBuf, String> {
    let name = process.args().iter().flatten().next().map_or("", String::as_str);
    if name.contains('/') {
        let reason = match check(Path::new(name)) {
            Found::Program => return Ok(PathBuf::from(name)),
            Found::Unusable => "permission denied",
            Found::Nothing => "no such file or directory",
        };
        return Err(cannot_run(process, reason));
    }
    let path = process.env().iter().flatten().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    let mut unusable = false;
    for directory in path.split(':').filter(|_| !name.is_empty()) {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match check(&candidate) {
            Found::Program => return Ok(candidate),
            Found::Unusable => unusable = true,
            Found::Nothing => {}
        }
    }
    let reason = if unusable { "permission denied" } else { "executable file not found in $PATH" };
    Err(cannot_run(process, reason))
}

enum Found {
    Program,
    Unusable,
    Nothing,
}

fn check(path: &Path) -> Found {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && access(path, AccessFlags::X_OK).is_ok() => Found::Program,
        Ok(_) => Found::Unusable,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Found::Unusable,
        Err(_) => Found::Nothing,
    }
}
