//! The state as snapshots hold it: the facts without the indexes, which are made again as the facts are read, so that
//! they can't disagree.

use super::{NodeLoad, Outcome, Record, State};
use crate::{
    ids::{RequestId, Timestamp},
    level::Level,
    model::{ClusterInfo, Controller, DesiredState, JoinRole, Node, Service, Stack, Task, Token},
    planted::{self, Bug},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    ser::{SerializeSeq, SerializeStruct},
};
use std::sync::Arc;

/// One fact of a state. A state is the sequence of its facts in the order of [`State::facts`], and is made again by
/// [`State::learn`]ing them. A field or kind added later must be one that a state without it can do without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// What the state counts.
    Counters {
        /// The next id.
        next_id: u64,
        /// The latest time of any command.
        now: Timestamp,
        /// What may be used.
        #[serde(default)]
        level: Level,
    },
    /// The cluster's own data.
    Cluster(ClusterInfo),
    /// A join token.
    Token(JoinRole, Token),
    /// A controller.
    Controller(Controller),
    /// A node.
    Node(Arc<Node>),
    /// A stack.
    Stack(Arc<Stack>),
    /// A service.
    Service(Arc<Service>),
    /// A task.
    Task(Arc<Task>),
    /// Something that happened.
    Record(Record),
    /// What a client's request was answered.
    Answer(RequestId, Timestamp, Outcome),
}

impl State {
    /// The state's facts, services before their tasks. None is copied but by its pointer, if it can be large.
    pub fn facts(&self) -> impl Iterator<Item = Fact> {
        std::iter::once(Fact::Counters { next_id: self.next_id, now: self.now, level: self.level })
            .chain(self.cluster.iter().cloned().map(Fact::Cluster))
            .chain(self.tokens.iter().map(|(role, token)| Fact::Token(*role, token.clone())))
            .chain(self.controllers.values().cloned().map(Fact::Controller))
            .chain(self.nodes.values().cloned().map(Fact::Node))
            .chain(self.stacks.values().cloned().map(Fact::Stack))
            .chain(self.services.values().cloned().map(Fact::Service))
            .chain(self.tasks.values().cloned().map(Fact::Task))
            .chain(self.history.records().iter().cloned().map(Fact::Record))
            .chain(self.requests.iter().map(|(id, at, outcome)| Fact::Answer(id, at, outcome.clone())))
    }

    /// How many facts [`State::facts`] gives.
    #[must_use]
    pub fn fact_count(&self) -> usize {
        1 + usize::from(self.cluster.is_some())
            + self.tokens.len()
            + self.controllers.len()
            + self.nodes.len()
            + self.stacks.len()
            + self.services.len()
            + self.tasks.len()
            + self.history.records().len()
            + self.requests.len()
    }

    /// Takes a fact of another state into this one, which began empty and has learned all those before it.
    pub fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::Counters { next_id, now, level } => {
                (self.next_id, self.now, self.level) = (next_id, now, level);
            }
            Fact::Cluster(cluster) => self.cluster = Some(cluster),
            Fact::Token(role, token) => drop(self.tokens.insert(role, token)),
            Fact::Controller(controller) => drop(self.controllers.insert(controller.id, controller)),
            Fact::Node(node) => {
                self.node_names.insert(node.name.as_str().into(), node.id);
                self.nodes.insert(node.id, node);
            }
            Fact::Stack(stack) => drop(self.stacks.insert(stack.name.as_str().into(), stack)),
            Fact::Service(service) => {
                if !service.removing {
                    self.service_names.insert(service.name.clone(), service.id);
                }
                self.services.insert(service.id, service);
            }
            Fact::Task(task) => self.learn_task(task),
            Fact::Record(record) => self.history.restore(record),
            Fact::Answer(..) if planted::is(Bug::SnapshotWithoutRequests) => {}
            Fact::Answer(request, at, outcome) => self.requests.record(request, at, outcome),
        }
    }

    fn learn_task(&mut self, task: Arc<Task>) {
        self.slots.insert((task.service, task.slot, task.id));
        if task.node.is_none() && task.is_wanted() {
            self.unplaced.entry((task.service, task.template)).or_default().insert(task.id);
        }
        if let Some(node) = task.node
            && !task.is_final()
            && let Some(template) = self.template_of(&task).cloned()
        {
            let load: &mut NodeLoad = self.loads.entry(node).or_default();
            load.add(task.id, task.service, &template);
            if task.desired > DesiredState::Running {
                load.stop(task.id, task.service);
            }
        }
        self.tasks.insert(task.id, task);
    }
}

/// The form of snapshots of the first level: the whole state as one structure of lists.
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Stored", 11)?;
        fields.serialize_field("cluster", &self.cluster)?;
        fields.serialize_field("tokens", &List(|| self.tokens.iter()))?;
        fields.serialize_field("controllers", &List(|| self.controllers.values()))?;
        fields.serialize_field("nodes", &List(|| self.nodes.values()))?;
        fields.serialize_field("stacks", &List(|| self.stacks.values()))?;
        fields.serialize_field("services", &List(|| self.services.values()))?;
        fields.serialize_field("tasks", &List(|| self.tasks.values()))?;
        fields.serialize_field("history", &self.history)?;
        fields.serialize_field("requests", &List(|| self.requests.iter()))?;
        fields.serialize_field("next_id", &self.next_id)?;
        fields.serialize_field("now", &self.now)?;
        fields.end()
    }
}

/// A list that is written from an iterator, so that it need not be made first.
struct List<F>(F);

impl<T: Serialize, I: ExactSizeIterator<Item = T>, F: Fn() -> I> Serialize for List<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = (self.0)();
        let mut list = serializer.serialize_seq(Some(items.len()))?;
        for item in items {
            list.serialize_element(&item)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let mut state = State { history: stored.history, ..State::default() };
        let counters = Fact::Counters { next_id: stored.next_id, now: stored.now, level: Level::FIRST };
        let facts = std::iter::once(counters)
            .chain(stored.cluster.map(Fact::Cluster))
            .chain(stored.tokens.into_iter().map(|(role, token)| Fact::Token(role, token)))
            .chain(stored.controllers.into_iter().map(Fact::Controller))
            .chain(stored.nodes.into_iter().map(Fact::Node))
            .chain(stored.stacks.into_iter().map(Fact::Stack))
            .chain(stored.services.into_iter().map(Fact::Service))
            .chain(stored.tasks.into_iter().map(Fact::Task))
            .chain(stored.requests.into_iter().map(|(id, at, outcome)| Fact::Answer(id, at, outcome)));
        facts.for_each(|fact| state.learn(fact));
        Ok(state)
    }
}

/// The first level's structure.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    cluster: Option<ClusterInfo>,
    tokens: Vec<(JoinRole, Token)>,
    controllers: Vec<Controller>,
    nodes: Vec<Arc<Node>>,
    stacks: Vec<Arc<Stack>>,
    services: Vec<Arc<Service>>,
    tasks: Vec<Arc<Task>>,
    history: super::History,
    requests: Vec<(RequestId, Timestamp, Outcome)>,
    next_id: u64,
    now: Timestamp,
}
