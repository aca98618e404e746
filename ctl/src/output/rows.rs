//! A row for each kind of thing.

use super::{
    Table,
    time::{absolute, age},
};
use wharf_proto::v1::{Controller, Event, Node, Object, Service, Stack, Task, object};

/// The table of a list; all objects are of the first one's kind.
pub fn table(objects: &[Object], wide: bool, headers: bool) -> Table {
    let Some(first) = objects.first().and_then(|object| object.object.as_ref()) else {
        return Table::new(&["nothing there"], headers);
    };
    let mut table = Table::new(columns(first, wide), headers);
    for object in objects.iter().filter_map(|object| object.object.as_ref()) {
        table.row(match object {
            object::Object::Stack(stack) => stack_row(stack),
            object::Object::Service(service) => service_row(service, wide),
            object::Object::Task(task) => task_row(task, wide),
            object::Object::Node(node) => node_row(node, wide),
            object::Object::Controller(controller) => controller_row(controller, wide),
            object::Object::Event(event) => event_row(event),
        });
    }
    table
}

fn columns(object: &object::Object, wide: bool) -> &'static [&'static str] {
    match (object, wide) {
        (object::Object::Stack(_), _) => &["NAME", "SERVICES", "RUNNING", "VERSION", "AGE"],
        (object::Object::Service(_), false) => &["NAME", "MODE", "RUNNING", "IMAGE", "ROLLOUT", "AGE"],
        (object::Object::Service(_), true) => {
            &["NAME", "MODE", "RUNNING", "UPDATED", "IMAGE", "ROLLOUT", "VERSION", "ID", "AGE", "MESSAGE"]
        }
        (object::Object::Task(_), false) => &["NAME", "NODE", "STATE", "DESIRED", "AGE", "MESSAGE"],
        (object::Object::Task(_), true) => {
            &["NAME", "NODE", "STATE", "DESIRED", "AGE", "PORTS", "IMAGE", "VERSION", "PID", "ID", "MESSAGE"]
        }
        (object::Object::Node(_), false) => {
            &["NAME", "STATE", "AVAILABILITY", "TASKS", "ADDRESS", "AGE", "MESSAGE"]
        }
        (object::Object::Node(_), true) => &[
            "NAME",
            "STATE",
            "AVAILABILITY",
            "TASKS",
            "ADDRESS",
            "CPUS",
            "MEMORY",
            "PLATFORM",
            "KERNEL",
            "CGROUPS",
            "RUNTIMES",
            "LABELS",
            "ID",
            "AGE",
            "MESSAGE",
        ],
        (object::Object::Controller(_), false) => &["NAME", "ROLE", "REACHABLE", "ADDRESS", "AGE"],
        (object::Object::Controller(_), true) => {
            &["NAME", "ROLE", "REACHABLE", "ADDRESS", "TERM", "MATCHED", "APPLIED", "VERSION", "ID", "AGE"]
        }
        (object::Object::Event(_), _) => &["TIME", "KIND", "NAME", "ACTION", "MESSAGE"],
    }
}

fn stack_row(stack: &Stack) -> Vec<String> {
    vec![
        stack.name.clone(),
        stack.services.len().to_string(),
        format!("{}/{}", stack.running, stack.desired),
        stack.version.to_string(),
        age(stack.created),
    ]
}

/// The image that a service's tasks should run.
pub fn image(service: &Service) -> String {
    let template = service.spec.as_ref().and_then(|spec| spec.template.as_ref());
    template
        .and_then(|template| template.container.as_ref())
        .map_or_else(String::new, |found| found.image.clone())
}

fn service_row(service: &Service, wide: bool) -> Vec<String> {
    let rollout = if service.removing {
        "removing".to_owned()
    } else {
        service.rollout.as_ref().map_or_else(String::new, |rollout| rollout.state.clone())
    };
    let mut row =
        vec![service.name.clone(), service.mode.clone(), format!("{}/{}", service.running, service.desired)];
    if wide {
        row.push(service.up_to_date.to_string());
    }
    row.extend([image(service), rollout]);
    if wide {
        row.extend([service.template.to_string(), service.id.clone()]);
    }
    row.push(age(service.created));
    if wide {
        row.push(service.unplaced.get(&service.template).cloned().unwrap_or_default());
    }
    row
}

fn task_row(task: &Task, wide: bool) -> Vec<String> {
    let state = if task.node_state == "down" && task.exit_code.is_none() && task.state == "running" {
        "unknown".to_owned()
    } else {
        task.state.clone()
    };
    let mut row = vec![task.name.clone(), task.node.clone(), state, task.desired.clone(), age(task.created)];
    if wide {
        let ports: Vec<String> =
            task.ports.iter().map(|port| format!("{}->{}", port.published, port.target)).collect();
        row.extend([
            ports.join(","),
            task.image.clone(),
            task.template.to_string(),
            task.pid.map_or_else(String::new, |pid| pid.to_string()),
            task.id.clone(),
        ]);
    }
    row.push(one_line(&task.message));
    row
}

fn node_row(node: &Node, wide: bool) -> Vec<String> {
    let description = node.description.clone().unwrap_or_default();
    let mut row = vec![
        node.name.clone(),
        node.state.clone(),
        node.availability.clone(),
        node.tasks.to_string(),
        description.address.clone(),
    ];
    if wide {
        let platform = description.platform.clone().unwrap_or_default();
        let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        row.extend([
            cpus(description.nano_cpus),
            memory(description.memory),
            format!("{}/{}", platform.os, platform.architecture),
            description.kernel.clone(),
            description.cgroups.clone(),
            description.runtimes.join(","),
            labels.join(","),
            node.id.clone(),
        ]);
    }
    row.extend([age(node.joined), node.message.clone()]);
    row
}

fn controller_row(controller: &Controller, wide: bool) -> Vec<String> {
    let reachable = if controller.reachable { "yes" } else { "no" };
    let mut row = vec![
        controller.name.clone(),
        controller.role.clone(),
        reachable.to_owned(),
        controller.address.clone(),
    ];
    if wide {
        row.extend([
            controller.term.to_string(),
            controller.matched.to_string(),
            controller.applied.to_string(),
            controller.version.clone(),
            controller.id.clone(),
        ]);
    }
    row.push(age(controller.joined));
    row
}

fn event_row(event: &Event) -> Vec<String> {
    vec![
        absolute(event.at),
        event.kind.clone(),
        event.name.clone(),
        event.action.clone(),
        one_line(&event.message),
    ]
}

/// Billionths of a processor, as processors.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn cpus(nano: u64) -> String {
    format!("{}", (nano as f64 / 1e7).round() / 100.0)
}

/// Bytes, with a unit.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn memory(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 { format!("{:.1}GiB", mib / 1024.0) } else { format!("{mib:.0}MiB") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_proto::v1::PublishedPort;

    #[test]
    fn tasks_are_shown_in_a_table() {
        let task = Task {
            name: "shop/web.1".to_owned(),
            node: "a1".to_owned(),
            state: "failed".to_owned(),
            desired: "running".to_owned(),
            message: "image x:1\nnot found".to_owned(),
            ports: vec![PublishedPort { published: 32768, target: 80 }],
            ..Task::default()
        };
        let objects = [Object { object: Some(object::Object::Task(task)) }];
        let text = table(&objects, false, true).render();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "NODE", "STATE", "DESIRED", "AGE", "MESSAGE"]);
        assert_eq!(lines[1], ["shop/web.1", "a1", "failed", "running", "image", "x:1", "not", "found"]);
        assert!(table(&objects, true, false).render().contains("32768->80"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(cpus(250_000_000), "0.25");
        assert_eq!(memory(512 << 20), "512MiB");
        assert_eq!(memory(3 << 30), "3.0GiB");
    }
}
