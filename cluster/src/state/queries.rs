//! Questions to the state.

use super::{NodeLoad, Outcome, Record, State};
use crate::{
    ids::{ControllerId, NodeId, RequestId, ServiceId, TaskId, Timestamp},
    level::Level,
    model::{
        ClusterInfo, Controller, JoinRole, Node, NodeState, Order, Service, ServiceName, Slot, Stack, Task,
        TaskTemplate, Token,
    },
    planted::{self, Bug},
};
use imbl::Vector;
use std::sync::Arc;

impl State {
    /// The cluster's own data; `None` before it was made.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterInfo> {
        self.cluster.as_ref()
    }

    /// The level of what may be used: every controller knows it.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What came of a client's request that was seen, if it is remembered.
    #[must_use]
    pub fn answer(&self, request: RequestId) -> Option<&Outcome> {
        self.requests.answer(request)
    }

    /// The latest time of any command.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The join token of a role.
    #[must_use]
    pub fn token(&self, role: JoinRole) -> Option<&Token> {
        self.tokens.get(&role)
    }

    /// The controllers, by id.
    pub fn controllers(&self) -> impl Iterator<Item = &Controller> {
        self.controllers.values()
    }

    /// Whether an id belongs to something, or did.
    #[must_use]
    pub fn has_handed_out(&self, id: u64) -> bool {
        id < self.next_id
    }

    /// A controller.
    #[must_use]
    pub fn controller(&self, id: ControllerId) -> Option<&Controller> {
        self.controllers.get(&id)
    }

    /// The nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// The node with this name. No two have the same.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<&Arc<Node>> {
        self.node_names.get(name).and_then(|id| self.nodes.get(id))
    }

    /// The node with this name, or with this id in its text form.
    #[must_use]
    pub fn find_node(&self, name_or_id: &str) -> Option<&Arc<Node>> {
        self.node_named(name_or_id)
            .or_else(|| name_or_id.parse::<NodeId>().ok().and_then(|id| self.nodes.get(&id)))
    }

    /// What a node carries.
    #[must_use]
    pub fn load(&self, node: NodeId) -> NodeLoad {
        self.loads.get(&node).cloned().unwrap_or_default()
    }

    /// What a node carries; `None` if that is nothing.
    #[must_use]
    pub fn load_of(&self, node: NodeId) -> Option<&NodeLoad> {
        self.loads.get(&node)
    }

    /// What each node with live tasks carries, by node.
    pub fn loads(&self) -> impl Iterator<Item = (NodeId, &NodeLoad)> {
        self.loads.iter().map(|(node, load)| (*node, load))
    }

    /// The stacks, by name.
    pub fn stacks(&self) -> impl Iterator<Item = &Arc<Stack>> {
        self.stacks.values()
    }

    /// A stack.
    #[must_use]
    pub fn stack(&self, name: &str) -> Option<&Arc<Stack>> {
        self.stacks.get(name)
    }

    /// The services, by id, those being removed too.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// A service.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    /// The service of this name that isn't being removed.
    #[must_use]
    pub fn service_named(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.service_names.get(name).and_then(|id| self.services.get(id))
    }

    /// The services of a stack that aren't being removed, by name.
    pub fn services_of<'a>(&'a self, stack: &str) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        let stack: Arc<str> = stack.into();
        let first = ServiceName { stack: stack.clone(), service: "".into() };
        self.service_names
            .range(first..)
            .take_while(move |(name, _)| name.stack == stack)
            .filter_map(|(_, id)| self.services.get(id))
    }

    /// The tasks, by id: in the order in which they were made.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// The tasks, the youngest first.
    pub fn tasks_newest_first(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values().rev()
    }

    /// How many tasks there are, ended ones included.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// A task.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(&id)
    }

    /// A service's tasks by slot, each slot's by age, oldest first; ended ones included.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.slots
            .range((service, Slot::Replica(0), TaskId(0))..)
            .take_while(move |(of, ..)| *of == service)
            .filter_map(|(.., id)| self.tasks.get(id))
    }

    /// A service's slots that have or had tasks, each with its tasks, oldest first; ended ones included.
    pub fn slots_of(&self, service: ServiceId) -> impl Iterator<Item = (Slot, Vec<&Arc<Task>>)> {
        let mut tasks = self.tasks_of(service).peekable();
        std::iter::from_fn(move || {
            let slot = tasks.peek()?.slot;
            Some((slot, std::iter::from_fn(|| tasks.next_if(|task| task.slot == slot)).collect()))
        })
    }

    /// The tasks of one slot, oldest first; ended ones included.
    pub fn tasks_in(&self, service: ServiceId, slot: Slot) -> impl Iterator<Item = &Arc<Task>> {
        let all = (service, slot, TaskId(0))..=(service, slot, TaskId(u64::MAX));
        self.slots.range(all).filter_map(|(.., id)| self.tasks.get(id))
    }

    /// Whether a slot has a task that keeps another one (`than` itself aside) from running: one that may run on a node
    /// that nobody has declared down, or will once it is placed. Where new tasks are started first, only one that is
    /// on its way out does.
    #[must_use]
    pub fn is_occupied(&self, service: ServiceId, slot: Slot, than: Option<TaskId>) -> bool {
        if planted::is(Bug::SlotShared) {
            return false;
        }
        let start_first =
            self.service(service).is_some_and(|service| service.replacement().order == Order::StartFirst);
        let reachable = |id| self.node(id).is_some_and(|node| node.status.state != NodeState::Down);
        self.tasks_in(service, slot).any(|task| {
            let may_run = !task.is_final() && task.node.is_none_or(reachable);
            may_run && than != Some(task.id) && !(start_first && task.is_wanted())
        })
    }

    /// Tasks that are wanted and have no node yet, by service, template version and id.
    pub fn unplaced_tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.unplaced_groups().flat_map(|(service, template)| self.unplaced_in(service, template))
    }

    /// Services and template versions that have tasks without a node.
    pub fn unplaced_groups(&self) -> impl Iterator<Item = (ServiceId, u64)> {
        self.unplaced.keys().copied()
    }

    /// The tasks of a service's template version that are wanted and have no node yet, by id.
    pub fn unplaced_in(&self, service: ServiceId, template: u64) -> impl Iterator<Item = &Arc<Task>> {
        self.unplaced.get(&(service, template)).into_iter().flatten().filter_map(|id| self.tasks.get(id))
    }

    /// What a task runs. `None` only for a task whose service is unknown, which the state never holds.
    #[must_use]
    pub fn template_of(&self, task: &Task) -> Option<&Arc<TaskTemplate>> {
        Some(&self.services.get(&task.service)?.templates.get(&task.template)?.spec)
    }

    /// A task's name: `shop/web.3`, or `shop/agent.node-1` for a global service.
    #[must_use]
    pub fn task_name(&self, task: &Task) -> String {
        let service =
            self.services.get(&task.service).map_or_else(String::new, |service| service.name.to_string());
        match task.slot {
            Slot::Replica(number) => format!("{service}.{number}"),
            Slot::Node(id) => match self.nodes.get(&id) {
                Some(node) => format!("{service}.{}", node.name),
                None => format!("{service}.{id}"),
            },
        }
    }

    /// What happened lately, oldest first.
    #[must_use]
    pub fn history(&self) -> &Vector<Record> {
        self.history.records()
    }
}
