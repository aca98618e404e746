//! A row for each kind of thing.

use super::{
    Table,
    time::{absolute, age},
};
use wharf_proto::v1::{Controller, Event, Node, Object, Service, Stack, Task, object};

/// The table of a list; all objects are of the first one's kind.
pub fn table(objects: &[Object], wide: bool) -> Table {
    let Some(first) = objects.first().and_then(|object| object.object.as_ref()) else {
        return Table::without_headers();
    };
    let mut table = Table::new(columns(first, wide));
    for object in objects.iter().filter_map(|object| object.object.as_ref()) {
        table.row(row(object, wide));
    }
    table
}

/// One object's row alone.
pub fn table_without_headers(object: &Object, wide: bool) -> Table {
    let mut table = Table::without_headers();
    if let Some(object) = &object.object {
        table.row(row(object, wide));
    }
    table
}

fn row(object: &object::Object, wide: bool) -> Vec<String> {
    match object {
        object::Object::Stack(stack) => stack_row(stack),
        object::Object::Service(service) => service_row(service, wide),
        object::Object::Task(task) => task_row(task, wide),
        object::Object::Node(node) => node_row(node, wide),
        object::Object::Controller(controller) => controller_row(controller, wide),
        object::Object::Event(event) => event_row(event),
    }
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
        (object::Object::Controller(_), false) => {
            &["NAME", "ROLE", "VOTES", "REACHABLE", "BEHIND", "VERSION", "LEVEL", "ADDRESS", "AGE"]
        }
        (object::Object::Controller(_), true) => &[
            "NAME",
            "ROLE",
            "VOTES",
            "REACHABLE",
            "BEHIND",
            "VERSION",
            "LEVEL",
            "ADDRESS",
            "TERM",
            "MATCHED",
            "APPLIED",
            "ID",
            "AGE",
        ],
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
    let is_heard = !matches!(task.node_state.as_str(), "down" | "unknown");
    let state = if !is_heard && task.exit_code.is_none() && task.state == "running" {
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
    row.push(task.message.clone());
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
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut row = vec![
        controller.name.clone(),
        controller.role.clone(),
        yes(!controller.demoted),
        yes(controller.reachable),
        controller.behind.to_string(),
        controller.version.clone(),
        level(controller),
        controller.address.clone(),
    ];
    if wide {
        row.extend([
            controller.term.to_string(),
            controller.matched.to_string(),
            controller.applied.to_string(),
            controller.id.clone(),
        ]);
    }
    row.push(age(controller.joined));
    row
}

/// What the cluster uses of what a controller knows.
pub fn level(controller: &Controller) -> String {
    match (controller.cluster_level, controller.level) {
        (_, 0) => "-".to_owned(),
        (used, known) if used == known => known.to_string(),
        (used, known) => format!("{used} of {known}"),
    }
}

fn event_row(event: &Event) -> Vec<String> {
    vec![
        absolute(event.at),
        event.kind.clone(),
        event.name.clone(),
        event.action.clone(),
        event.message.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_proto::v1::{
        ContainerSpec, NodeDescription, Platform, PublishedPort, Rollout, ServiceSpec, TaskTemplate,
    };

    fn shown(object: object::Object, wide: bool) -> String {
        table(&[Object { object: Some(object) }], wide).render()
    }

    fn a_task() -> Task {
        Task {
            id: "k3".to_owned(),
            name: "shop/web.1".to_owned(),
            node: "a1".to_owned(),
            node_state: "ready".to_owned(),
            state: "failed".to_owned(),
            desired: "running".to_owned(),
            image: "web:1".to_owned(),
            template: 2,
            pid: Some(17),
            message: "image web:1\nnot found".to_owned(),
            ports: vec![PublishedPort { published: 32768, target: 80 }],
            ..Task::default()
        }
    }

    #[test]
    fn tasks() {
        let task = || object::Object::Task(a_task());
        let expected = "\
NAME        NODE  STATE   DESIRED  AGE  MESSAGE
shop/web.1  a1    failed  running       image web:1 not found
";
        assert_eq!(shown(task(), false), expected);
        let expected = "\
NAME        NODE  STATE   DESIRED  AGE  PORTS      IMAGE  VERSION  PID  ID  MESSAGE
shop/web.1  a1    failed  running       32768->80  web:1  2        17   k3  image web:1 not found
";
        assert_eq!(shown(task(), true), expected);
    }

    #[test]
    fn a_running_task_of_a_node_that_is_down_is_not_known_to_run() {
        let task = Task { state: "running".to_owned(), node_state: "down".to_owned(), ..a_task() };
        assert!(shown(object::Object::Task(task), false).contains("unknown"));
    }

    #[test]
    fn services() {
        let container = ContainerSpec { image: "web:1".to_owned(), ..ContainerSpec::default() };
        let template = TaskTemplate { container: Some(container), ..TaskTemplate::default() };
        let service = Service {
            id: "a".to_owned(),
            name: "shop/web".to_owned(),
            mode: "replicated".to_owned(),
            running: 5,
            desired: 6,
            up_to_date: 4,
            template: 2,
            spec: Some(ServiceSpec { template: Some(template), ..ServiceSpec::default() }),
            rollout: Some(Rollout { state: "updating".to_owned(), ..Rollout::default() }),
            unplaced: [(2, "1 of 1 nodes: not enough memory".to_owned())].into(),
            ..Service::default()
        };
        let expected = "\
NAME      MODE        RUNNING  IMAGE  ROLLOUT   AGE
shop/web  replicated  5/6      web:1  updating
";
        assert_eq!(shown(object::Object::Service(service.clone()), false), expected);
        let expected = "\
NAME      MODE        RUNNING  UPDATED  IMAGE  ROLLOUT   VERSION  ID  AGE  MESSAGE
shop/web  replicated  5/6      4        web:1  updating  2        a        1 of 1 nodes: not enough memory
";
        assert_eq!(shown(object::Object::Service(service), true), expected);
    }

    #[test]
    fn nodes_controllers_stacks_and_events() {
        let description = NodeDescription {
            address: "10.0.0.1".to_owned(),
            platform: Some(Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() }),
            nano_cpus: 2_000_000_000,
            memory: 4 << 30,
            ..NodeDescription::default()
        };
        let node = Node {
            id: "1".to_owned(),
            name: "a1".to_owned(),
            state: "ready".to_owned(),
            availability: "active".to_owned(),
            tasks: 3,
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            description: Some(description),
            ..Node::default()
        };
        let expected = "\
NAME  STATE  AVAILABILITY  TASKS  ADDRESS   AGE  MESSAGE
a1    ready  active        3      10.0.0.1
";
        assert_eq!(shown(object::Object::Node(node.clone()), false), expected);
        let wide = shown(object::Object::Node(node), true);
        assert!(wide.contains("  2     4.0GiB  linux/amd64  "), "{wide}");
        assert!(wide.contains("disk=ssd"), "{wide}");

        let controller = Controller {
            name: "c1".to_owned(),
            address: "10.0.0.1:7400".to_owned(),
            role: "leader".to_owned(),
            reachable: true,
            version: "0.1.0".to_owned(),
            level: 2,
            cluster_level: 1,
            ..Controller::default()
        };
        let expected = "\
NAME  ROLE    VOTES  REACHABLE  BEHIND  VERSION  LEVEL   ADDRESS        AGE
c1    leader  yes    yes        0       0.1.0    1 of 2  10.0.0.1:7400
";
        assert_eq!(shown(object::Object::Controller(controller), false), expected);

        let stack = Stack { name: "shop".to_owned(), version: 3, running: 6, desired: 6, ..Stack::default() };
        let expected = "\
NAME  SERVICES  RUNNING  VERSION  AGE
shop  0         6/6      3
";
        assert_eq!(shown(object::Object::Stack(stack), false), expected);

        let event = Event {
            at: 1000,
            kind: "node".to_owned(),
            name: "a1".to_owned(),
            action: "down".to_owned(),
            message: "no heartbeat".to_owned(),
            ..Event::default()
        };
        let expected = "\
TIME                  KIND  NAME  ACTION  MESSAGE
1970-01-01T00:00:01Z  node  a1    down    no heartbeat
";
        assert_eq!(shown(object::Object::Event(event), false), expected);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(cpus(250_000_000), "0.25");
        assert_eq!(memory(512 << 20), "512MiB");
        assert_eq!(memory(3 << 30), "3.0GiB");
    }
}
