//! What a container runs: command, environment, host name.

use wharf_cluster::model::ContainerSpec;
use wharf_image::ImageConfig;

use super::Refusal;
use crate::task::Assigned;

/// Longest host name.
const HOST_NAME: usize = 63;

/// Command and arguments, merged as Docker does: an entrypoint that is given drops the image's command too.
///
/// # Errors
/// When nothing is left to run.
pub fn args(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, Refusal> {
    let (entrypoint, default_command) = match &spec.entrypoint {
        Some(own) => (own, &[][..]),
        None => (&image.entrypoint, image.cmd.as_slice()),
    };
    let command = spec.command.as_deref().unwrap_or(default_command);
    let args: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    match args.first() {
        None => Err(Refusal::of(
            "command",
            format!("image {} has no command of its own; give command or entrypoint", spec.image),
        )),
        Some(first) if first.is_empty() => Err(Refusal::of("command", "the program's name is empty")),
        Some(_) => Ok(args),
    }
}

/// Environment: the image's, Wharf's, the task's; a later one of the same name takes an earlier one's place.
pub fn environment(task: &Assigned, spec: &ContainerSpec, image: &ImageConfig, node: &str) -> Vec<String> {
    let mut all: Vec<String> = image.env.clone();
    let ours = [
        ("WHARF_TASK_ID", task.id.to_string()),
        ("WHARF_TASK_NAME", task.name.clone()),
        ("WHARF_TASK_SLOT", task.slot.to_string()),
        ("WHARF_SERVICE", task.service.clone()),
        ("WHARF_STACK", task.stack.clone()),
        ("WHARF_NODE", node.to_owned()),
    ];
    let ours = ours.iter().map(|(name, value)| (*name, value.as_str()));
    let theirs = spec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in ours.chain(theirs) {
        all.retain(|entry| entry.split('=').next() != Some(name));
        all.push(format!("{name}={value}"));
    }
    all
}

/// The host name: the one given, else one of the task's name: `shop/web.3` is `web.3`.
pub fn hostname(given: Option<&str>, task: &str) -> String {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return given.to_owned();
    }
    let name = task.rsplit('/').next().unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(legal).take(HOST_NAME).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "task".to_owned() } else { name.to_owned() }
}
