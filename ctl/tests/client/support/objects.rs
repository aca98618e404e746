//! Objects as a cluster shows them.

use wharf_proto::v1::{
    Controller, Node, Object, PlanStackResponse, PlannedChange, PlannedPlacement, Service, Task, object,
};

pub(crate) fn node(name: &str, state: &str) -> Object {
    let node = Node {
        id: format!("id-{name}"),
        name: name.to_owned(),
        state: state.to_owned(),
        availability: "active".to_owned(),
        ..Node::default()
    };
    Object { object: Some(object::Object::Node(node)) }
}

pub(crate) fn controller(name: &str, role: &str) -> Object {
    let controller = Controller {
        id: format!("id-{name}"),
        name: name.to_owned(),
        role: role.to_owned(),
        reachable: true,
        ..Controller::default()
    };
    Object { object: Some(object::Object::Controller(controller)) }
}

pub(crate) fn controller_at(name: &str, address: &str) -> Object {
    let mut shown = controller(name, "voter");
    if let Some(object::Object::Controller(controller)) = &mut shown.object {
        address.clone_into(&mut controller.address);
    }
    shown
}

/// A replicated service without an update.
pub(crate) fn service(name: &str, running: u32, desired: u32) -> Object {
    let (stack, _) = name.split_once('/').expect("full names");
    let service = Service {
        id: format!("id-{name}"),
        stack: stack.to_owned(),
        name: name.to_owned(),
        mode: "replicated".to_owned(),
        template: 1,
        running,
        desired,
        up_to_date: running,
        ..Service::default()
    };
    Object { object: Some(object::Object::Service(service)) }
}

/// A task of the service that its name says; its id is its name and state.
pub(crate) fn task(name: &str, id: &str, state: &str, message: &str) -> Object {
    let (service, slot) = name.split_once('.').expect("full names");
    let task = Task {
        id: id.to_owned(),
        name: name.to_owned(),
        service: service.to_owned(),
        stack: service.split_once('/').expect("full names").0.to_owned(),
        slot: slot.parse().expect("a number"),
        template: 1,
        state: state.to_owned(),
        desired: "running".to_owned(),
        message: message.to_owned(),
        ..Task::default()
    };
    Object { object: Some(object::Object::Task(task)) }
}

/// A plan that makes one service with one task.
pub(crate) fn plan(version: u64, service: &str) -> PlanStackResponse {
    PlanStackResponse {
        version,
        changes: vec![PlannedChange {
            service: service.to_owned(),
            action: "create".to_owned(),
            tasks: 1,
            ..PlannedChange::default()
        }],
        placements: vec![PlannedPlacement {
            service: service.to_owned(),
            task: format!("{service}.1"),
            node: "a1".to_owned(),
        }],
        ..PlanStackResponse::default()
    }
}
