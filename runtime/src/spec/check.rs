//! Checks of a container spec's plain fields, before anything is done with them.

use std::path::Path;

use super::ContainerSpec;
use super::error::SpecError;

const MAX_ID: usize = 64;

/// Whether an id can name a container: it becomes a directory, a cgroup and an argument.
pub(crate) fn valid_id(id: &str) -> bool {
    let first = id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

pub(crate) fn check(spec: &ContainerSpec) -> Result<(), SpecError> {
    if !valid_id(&spec.id) {
        let reason = format!("{:?} must be 1 to {MAX_ID} letters, digits, '_', '.' or '-'", spec.id);
        return Err(SpecError::field("id", reason));
    }
    if spec.args.first().is_none_or(String::is_empty) {
        return Err(SpecError::field("command", "the container has no command to run"));
    }
    for text in spec.args.iter().chain(&spec.env) {
        if text.contains('\0') {
            return Err(SpecError::field(
                "command",
                "arguments and environment must not contain a zero byte",
            ));
        }
    }
    if let Some(bad) = spec.env.iter().find(|e| e.split_once('=').is_none_or(|(key, _)| key.is_empty())) {
        let key: String = bad.chars().take_while(|c| *c != '=').take(40).collect();
        return Err(SpecError::field("environment", format!("{key:?} must have the form KEY=value")));
    }
    if !absolute(&spec.cwd) {
        return Err(SpecError::field(
            "working_dir",
            format!("{} must be an absolute path", spec.cwd.display()),
        ));
    }
    let parent = Path::new(&spec.cgroup_parent);
    if !absolute(parent) || parent.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(SpecError::field(
            "cgroup_parent",
            format!("{:?} must be an absolute path", spec.cgroup_parent),
        ));
    }
    Ok(())
}

fn absolute(path: &Path) -> bool {
    path.is_absolute()
}
