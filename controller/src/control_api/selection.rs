//! Which objects a client asks for.

use crate::{core::Core, views};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;
use wharf_cluster::{
    ids::{NodeId, TaskId},
    model::{self, ServiceName, Slot, TaskState},
    state::State,
};
use wharf_proto::v1::{GetRequest, Kind, Object, object};

/// Most names in one request.
const MAX_NAMES: usize = 1000;

/// An object's place in an answer: by name, then as its kind goes on.
pub(super) type Key = (String, u64, u64);

/// Which objects a client asks for.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) kind: Kind,
    names: BTreeSet<String>,
    stack: String,
    service: Option<ServiceName>,
    node: String,
    all: bool,
    after: u64,
}

impl Selection {
    /// The selection of a request.
    pub(super) fn of(request: GetRequest) -> Result<Self, Status> {
        let kind = request.kind();
        if kind == Kind::Unspecified {
            return Err(Status::invalid_argument("kind: is missing, or not known to this controller"));
        }
        if request.names.len() > MAX_NAMES {
            return Err(Status::invalid_argument(format!("names: more than {MAX_NAMES} at once")));
        }
        let service = match request.service.as_str() {
            "" => None,
            name => Some(super::writes::service_name(name)?),
        };
        Ok(Selection {
            kind,
            names: request.names.into_iter().collect(),
            stack: request.stack,
            service,
            node: request.node,
            all: request.all,
            after: request.after,
        })
    }

    /// The objects, in the order in which they are shown.
    pub(super) fn objects(&self, core: &Core, state: &State) -> BTreeMap<Key, Object> {
        let mut found = BTreeMap::new();
        let mut add = |(key, object)| {
            found.insert(key, Object { object: Some(object) });
        };
        match self.kind {
            Kind::Unspecified => {}
            Kind::Stack => state.stacks().filter_map(|stack| self.stack_object(state, stack)).for_each(add),
            Kind::Service => {
                state.services().filter_map(|service| self.service_object(state, service)).for_each(add);
            }
            Kind::Task => self.tasks(state).filter_map(|task| self.task_object(state, task)).for_each(add),
            Kind::Node => self.nodes(state).filter_map(|node| self.node_object(state, node)).for_each(add),
            Kind::Controller => {
                let mut add = add;
                for controller in views::controllers(core, state) {
                    if self.is_named(&controller.name, || controller.id.clone()) {
                        let number = controller.id.parse::<NodeId>().map_or(0, |id| id.0);
                        let key = (controller.name.clone(), number, 0);
                        add((key, object::Object::Controller(controller)));
                    }
                }
            }
            Kind::Event => {
                let records = state.history().iter().filter(|record| {
                    // The first one ever has number 0, and no number before it.
                    (self.after == 0 || record.sequence > self.after) && self.is_about(&record.name)
                });
                records
                    .map(|record| {
                        let key = (String::new(), record.sequence, 0);
                        (key, object::Object::Event(views::event(record)))
                    })
                    .for_each(&mut add);
            }
        }
        found
    }

    /// Refuses if a name that was asked for isn't there.
    pub(super) fn check_names(&self, state: &State, found: &BTreeMap<Key, Object>) -> Result<(), Status> {
        let kind = self.kind_name();
        if !self.node.is_empty() && state.find_node(&self.node).is_none() {
            return Err(Status::not_found(format!("there is no node {}", self.node)));
        }
        if let Some(service) = &self.service
            && state.service_named(service).is_none()
        {
            return Err(Status::not_found(format!("there is no service {service}")));
        }
        let shown: BTreeSet<&str> = found.values().flat_map(names_of).collect();
        match self.names.iter().find(|name| !shown.contains(name.as_str())) {
            Some(missing) => Err(Status::not_found(format!("there is no {kind} {missing}"))),
            None => Ok(()),
        }
    }

    fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Unspecified => "object",
            Kind::Stack => "stack",
            Kind::Service => "service",
            Kind::Task => "task",
            Kind::Node => "node",
            Kind::Controller => "controller",
            Kind::Event => "event",
        }
    }

    fn is_named(&self, name: &str, id: impl FnOnce() -> String) -> bool {
        self.names.is_empty() || self.names.contains(name) || self.names.contains(&id())
    }

    fn is_of_stack(&self, stack: &str) -> bool {
        self.stack.is_empty() || self.stack == stack
    }

    /// Whether an event's name is the stack's or service's that is asked for, or of something in it.
    fn is_about(&self, name: &str) -> bool {
        let within = |outer: &str, ends: &[char]| {
            name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(ends))
        };
        (self.stack.is_empty() || within(&self.stack, &['/']))
            && self.service.as_ref().is_none_or(|service| within(&service.to_string(), &['.']))
            && (self.names.is_empty() || self.names.contains(name))
    }

    fn stack_object(&self, state: &State, stack: &model::Stack) -> Option<(Key, object::Object)> {
        let selected = self.is_of_stack(&stack.name) && self.is_named(&stack.name, || stack.name.clone());
        selected.then(|| ((stack.name.clone(), 0, 0), object::Object::Stack(views::stack(state, stack))))
    }

    fn service_object(&self, state: &State, service: &model::Service) -> Option<(Key, object::Object)> {
        let name = service.name.to_string();
        let selected = self.is_of_stack(&service.name.stack)
            && self.service.as_ref().is_none_or(|wanted| *wanted == service.name)
            && self.is_named(&name, || service.id.to_string());
        selected.then(|| ((name, service.id.0, 0), object::Object::Service(views::service(state, service))))
    }

    /// The nodes of these names and ids, or all.
    fn nodes<'a>(&'a self, state: &'a State) -> Box<dyn Iterator<Item = &'a model::Node> + 'a> {
        if self.names.is_empty() {
            return Box::new(state.nodes().map(|node| &**node));
        }
        let by_id = |name: &String| state.node(name.parse().ok()?);
        let named = self.names.iter().flat_map(move |name| [state.node_named(name), by_id(name)]);
        Box::new(named.flatten().map(|node| &**node))
    }

    fn node_object(&self, state: &State, node: &model::Node) -> Option<(Key, object::Object)> {
        let selected = (self.node.is_empty() || self.node == node.name || self.node == node.id.to_string())
            && self.is_named(&node.name, || node.id.to_string());
        selected.then(|| ((node.name.clone(), node.id.0, 0), object::Object::Node(views::node(state, node))))
    }

    fn tasks<'a>(&self, state: &'a State) -> Box<dyn Iterator<Item = &'a model::Task> + 'a> {
        match self.service.as_ref().map(|name| state.service_named(name)) {
            Some(Some(service)) => Box::new(state.tasks_of(service.id).map(|task| &**task)),
            Some(None) => Box::new(std::iter::empty()),
            None => Box::new(state.tasks().map(|task| &**task)),
        }
    }

    /// A task of this selection, by its id.
    pub(super) fn task(&self, state: &State, id: TaskId) -> Option<(Key, Object)> {
        let (key, object) = self.task_object(state, state.task(id)?)?;
        Some((key, Object { object: Some(object) }))
    }

    fn task_object(&self, state: &State, task: &model::Task) -> Option<(Key, object::Object)> {
        let service = state.service(task.service)?;
        if !self.is_of_stack(&service.name.stack)
            || self.service.as_ref().is_some_and(|wanted| *wanted != service.name)
        {
            return None;
        }
        if !self.node.is_empty() {
            let node = state.node(task.node?);
            node.filter(|node| node.name == self.node || node.id.to_string() == self.node)?;
        }
        if !self.names.is_empty() {
            let by_id = self.names.contains(&task.id.to_string());
            let by_name =
                self.names.contains(&state.task_name(task)) && (self.all || is_current(state, task));
            if !by_id && !by_name {
                return None;
            }
        } else if !self.all && !is_current(state, task) {
            return None;
        }
        let slot = match task.slot {
            Slot::Replica(number) => u64::from(number),
            Slot::Node(node) => node.0,
        };
        let key = (service.name.to_string(), slot, u64::MAX - task.id.0);
        Some((key, object::Object::Task(views::task(state, task))))
    }
}

/// Whether a task is what people want to see of its slot: it lives, or nothing has come after it and it ended by
/// itself.
fn is_current(state: &State, task: &model::Task) -> bool {
    let newest = || state.tasks_in(task.service, task.slot).last().is_none_or(|last| last.id == task.id);
    match task.status.state {
        TaskState::Shutdown => false,
        state if state.is_final() => newest(),
        _ => true,
    }
}

fn names_of(object: &Object) -> Vec<&str> {
    match &object.object {
        None => vec![],
        Some(object::Object::Stack(stack)) => vec![&stack.name],
        Some(object::Object::Service(service)) => vec![&service.name, &service.id],
        Some(object::Object::Task(task)) => vec![&task.name, &task.id],
        Some(object::Object::Node(node)) => vec![&node.name, &node.id],
        Some(object::Object::Controller(controller)) => vec![&controller.name, &controller.id],
        Some(object::Object::Event(event)) => vec![&event.name],
    }
}
