//! `wharf describe`: all about one thing, for people.

use super::get::wire;
use crate::{
    cli::{Describe, Kind},
    client::{Client, all, controllers, events, nodes, services, stacks, tasks},
    failure::{Failure, Result},
    output::{
        Table, clean,
        rows::{self, cpus, memory},
        time::absolute,
    },
};
use std::io::{Write, stdout};
use wharf_proto::v1::{Controller, Event, GetRequest, Kind as Wire, Node, Object, Service, Stack, Task};

/// Recent events that are shown.
const EVENTS: usize = 10;

/// Tells all about one thing.
///
/// # Errors
/// When it isn't there.
pub async fn describe(client: &Client, args: &Describe) -> Result<()> {
    let Some(kind) = wire(args.kind).filter(|kind| *kind != Wire::Event) else {
        return Err(Failure::usage("describe a stack, a service, a task, a node or a controller"));
    };
    let name = super::get::full_name(client, args.kind, &args.name).await?;
    let request = GetRequest { names: vec![name.clone()], all: true, ..all(kind) };
    let found = client.get(&request).await?;
    let none = || Failure::not_found(format!("there is no {} {name}", kind_word(args.kind)));
    let mut text = match args.kind {
        Kind::Services => service(client, services(found).first().ok_or_else(none)?).await?,
        Kind::Tasks => tasks(found).iter().rev().map(task).collect::<Vec<_>>().join("\n"),
        Kind::Nodes => node(client, nodes(found).first().ok_or_else(none)?).await?,
        Kind::Controllers => controller(controllers(found).first().ok_or_else(none)?),
        _ => stack(client, stacks(found).first().ok_or_else(none)?).await?,
    };
    text.push_str(&recent(&events(client.get(&all(Wire::Event)).await?), &name));
    write!(stdout().lock(), "{text}")?;
    Ok(())
}

/// The last events about a thing, or about what belongs to it.
fn recent(events: &[Event], name: &str) -> String {
    let about = |event: &&Event| {
        event.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
    };
    let mut table = Table::new(&["TIME", "NAME", "ACTION", "MESSAGE"]);
    let found: Vec<&Event> = events.iter().filter(about).collect();
    if found.is_empty() {
        return String::new();
    }
    for event in found.iter().skip(found.len().saturating_sub(EVENTS)) {
        table.row(vec![absolute(event.at), event.name.clone(), event.action.clone(), event.message.clone()]);
    }
    format!("\nRecent events:\n{}", table.render())
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Services => "service",
        Kind::Tasks => "task",
        Kind::Nodes => "node",
        Kind::Controllers => "controller",
        _ => "stack",
    }
}

fn line(text: &mut String, label: &str, value: &str) {
    let value = clean(value);
    if !value.is_empty() {
        text.push_str(&format!("{:<16}{value}\n", format!("{label}:")));
    }
}

async fn stack(client: &Client, stack: &Stack) -> Result<String> {
    let mut text = String::new();
    line(&mut text, "Stack", &stack.name);
    line(&mut text, "Version", &stack.version.to_string());
    line(&mut text, "Running", &format!("{} of {}", stack.running, stack.desired));
    line(&mut text, "Created", &absolute(stack.created));
    line(&mut text, "Updated", &absolute(stack.updated));
    line(&mut text, "Volumes", &stack.volumes.keys().cloned().collect::<Vec<_>>().join(", "));
    for found in super::follow::services_of(client, &stack.name).await? {
        text.push('\n');
        text.push_str(&service(client, &found).await?);
    }
    Ok(text)
}

async fn service(client: &Client, service: &Service) -> Result<String> {
    let mut text = String::new();
    line(&mut text, "Service", &service.name);
    line(&mut text, "Id", &service.id);
    line(&mut text, "Mode", &service.mode);
    line(&mut text, "Image", &rows::image(service));
    line(
        &mut text,
        "Running",
        &format!("{} of {} ({} up to date)", service.running, service.desired, service.up_to_date),
    );
    line(&mut text, "Version", &service.template.to_string());
    line(&mut text, "Updated", &absolute(service.updated));
    if let Some(rollout) = &service.rollout {
        let what =
            format!("{} (version {} to {}) {}", rollout.state, rollout.from, rollout.to, rollout.message);
        line(&mut text, "Rollout", what.trim_end());
    }
    if let Some(template) = service.spec.as_ref().and_then(|spec| spec.template.as_ref()) {
        let resources = template.resources.unwrap_or_default();
        let limits = resources.limits.unwrap_or_default();
        let reserved = resources.reservations.unwrap_or_default();
        line(&mut text, "Limits", &amount(limits.nano_cpus, limits.memory));
        line(&mut text, "Reservations", &amount(reserved.nano_cpus, reserved.memory));
        if let Some(placement) = &template.placement {
            line(&mut text, "Constraints", &placement.constraints.join(", "));
        }
    }
    for (version, reason) in &service.unplaced {
        line(&mut text, "Not placed", &format!("tasks of version {version}: {reason}"));
    }
    let request = GetRequest { service: service.name.clone(), ..all(Wire::Task) };
    let objects = client.get(&request).await?;
    if !objects.is_empty() {
        text.push('\n');
        text.push_str(&rows::table(&objects, false).render());
    }
    if service.history.len() > 1 {
        text.push('\n');
        text.push_str(&super::rollout::versions(service).render());
    }
    Ok(text)
}

fn amount(nano_cpus: u64, bytes: u64) -> String {
    let mut parts = Vec::new();
    if nano_cpus > 0 {
        parts.push(format!("{} cpus", cpus(nano_cpus)));
    }
    if bytes > 0 {
        parts.push(memory(bytes));
    }
    parts.join(", ")
}

fn task(task: &Task) -> String {
    let mut text = String::new();
    line(&mut text, "Task", &task.name);
    line(&mut text, "Id", &task.id);
    line(&mut text, "Service", &task.service);
    line(&mut text, "Node", &task.node);
    line(&mut text, "Image", &task.image);
    line(&mut text, "State", &format!("{} since {}", task.state, absolute(task.since)));
    line(&mut text, "Desired", &task.desired);
    line(&mut text, "Message", &task.message);
    line(&mut text, "Created", &absolute(task.created));
    line(&mut text, "Started", &absolute(task.started.unwrap_or(0)));
    if let Some(code) = task.exit_code {
        let oom = if task.oom_killed { " (out of memory)" } else { "" };
        line(&mut text, "Exit code", &format!("{code}{oom}"));
    }
    line(&mut text, "Process", &task.pid.map_or_else(String::new, |pid| pid.to_string()));
    for port in &task.ports {
        line(&mut text, "Port", &format!("{} -> {}", port.published, port.target));
    }
    text
}

async fn node(client: &Client, node: &Node) -> Result<String> {
    let description = node.description.clone().unwrap_or_default();
    let platform = description.platform.clone().unwrap_or_default();
    let reserved = node.reserved.unwrap_or_default();
    let mut text = String::new();
    line(&mut text, "Node", &node.name);
    line(&mut text, "Id", &node.id);
    line(&mut text, "State", &format!("{} since {} {}", node.state, absolute(node.since), node.message));
    line(&mut text, "Availability", &node.availability);
    line(&mut text, "Address", &description.address);
    line(&mut text, "Platform", &format!("{}/{}", platform.os, platform.architecture));
    line(&mut text, "Kernel", &description.kernel);
    line(&mut text, "Cgroups", &description.cgroups);
    line(&mut text, "Runtimes", &description.runtimes.join(", "));
    line(&mut text, "Agent", &description.version);
    line(&mut text, "Capacity", &amount(description.nano_cpus, description.memory));
    line(&mut text, "Reserved", &amount(reserved.nano_cpus, reserved.memory));
    for (key, value) in &node.labels {
        line(&mut text, "Label", &format!("{key}={value}"));
    }
    let objects: Vec<Object> = client.get(&GetRequest { node: node.name.clone(), ..all(Wire::Task) }).await?;
    if !objects.is_empty() {
        text.push('\n');
        text.push_str(&rows::table(&objects, false).render());
    }
    Ok(text)
}

fn controller(controller: &Controller) -> String {
    let mut text = String::new();
    line(&mut text, "Controller", &controller.name);
    line(&mut text, "Id", &controller.id);
    line(&mut text, "Role", &controller.role);
    line(&mut text, "Votes", if controller.demoted { "no" } else { "yes" });
    line(&mut text, "Address", &controller.address);
    line(&mut text, "Reachable", if controller.reachable { "yes" } else { "no" });
    line(&mut text, "Behind", &controller.behind.to_string());
    line(&mut text, "Term", &controller.term.to_string());
    line(&mut text, "Matched", &controller.matched.to_string());
    line(&mut text, "Applied", &controller.applied.to_string());
    line(&mut text, "Version", &controller.version);
    line(&mut text, "Level", &rows::level(controller));
    line(&mut text, "Joined", &absolute(controller.joined));
    text
}
