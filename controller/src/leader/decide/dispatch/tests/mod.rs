//! Tests of the dispatcher, with agents that are a few lines long and no time but their own.

mod mass_loss;
mod pace;
mod sessions;
mod silence;

use super::*;
use wharf_cluster::{
    command::{Envelope, NewTask},
    ids::{TaskId, Timestamp},
    model::{DesiredState, NodeDescription, ServiceName, ServiceSpec, Slot, StackSpec},
    state::Reply,
};
use wharf_proto::v1::{self, Generation, Heartbeat, Hello, TaskReports, agent_message};

pub(super) const TIMINGS: Timings = Timings {
    heartbeat: Duration::from_secs(1),
    missed: 5,
    mass_loss_hold: Duration::from_secs(60),
    certificate_lifetime: Duration::from_secs(3600),
};

/// A state and its dispatcher: what is proposed is applied at once.
pub(super) struct Host {
    pub(super) state: State,
    pub(super) dispatch: Dispatch,
    pub(super) now: Duration,
}

impl Host {
    /// With so many nodes, all of them ready and in sessions.
    pub(super) fn new(nodes: usize) -> (Self, Vec<NodeId>) {
        let state = State::default();
        let dispatch = Dispatch::new(1, 0, TIMINGS, &state, Duration::ZERO);
        let mut host = Host { state, dispatch, now: Duration::ZERO };
        let nodes: Vec<NodeId> = (0..nodes).map(|number| host.register(&format!("n{number}"))).collect();
        for node in &nodes {
            host.open(*node).unwrap();
        }
        host.settle();
        assert!(nodes.iter().all(|node| host.is(*node, NodeState::Ready)));
        (host, nodes)
    }

    pub(super) fn register(&mut self, name: &str) -> NodeId {
        let description = NodeDescription { hostname: name.to_owned(), ..NodeDescription::default() };
        match self.execute(Command::RegisterNode { description }) {
            Reply::Node(node) => node,
            other => panic!("no node: {other:?}"),
        }
    }

    pub(super) fn execute(&mut self, command: Command) -> Reply {
        let at = Timestamp(1 + u64::try_from(self.now.as_millis()).unwrap());
        let (outcome, events) = self.state.execute(&Envelope { at, request: None, command });
        for event in &events {
            self.dispatch.observe(&self.state, event);
        }
        outcome.unwrap()
    }

    /// A new leader.
    pub(super) fn elect(&mut self, term: u64) {
        self.dispatch = Dispatch::new(term, 0, TIMINGS, &self.state, self.now);
    }

    pub(super) fn open(&mut self, node: NodeId) -> Result<SessionKey, Refusal> {
        self.open_with(node, Hello { description: Some(self.describe(node)), held: None })
    }

    pub(super) fn open_with(&mut self, node: NodeId, hello: Hello) -> Result<SessionKey, Refusal> {
        self.dispatch.open(node, hello, &self.state, self.now)
    }

    pub(super) fn describe(&self, node: NodeId) -> v1::NodeDescription {
        let hostname = self.state.node(node).map(|node| node.name.clone()).unwrap_or_default();
        v1::NodeDescription { hostname, ..v1::NodeDescription::default() }
    }

    pub(super) fn key(&self, node: NodeId) -> SessionKey {
        self.dispatch.sessions[&node].key
    }

    pub(super) fn beat(&mut self, node: NodeId) {
        if !self.dispatch.sessions.contains_key(&node) {
            self.open(node).unwrap();
        }
        let beat = agent_message::Message::Heartbeat(Heartbeat::default());
        self.dispatch.hear(self.key(node), beat, self.now).unwrap();
    }

    pub(super) fn report(&mut self, node: NodeId, sequence: u64, task: TaskId, state: &str) {
        let report =
            v1::TaskReport { task: task.to_string(), state: state.to_owned(), ..v1::TaskReport::default() };
        let reports = TaskReports { sequence, reports: vec![report] };
        let said = agent_message::Message::Reports(reports);
        self.dispatch.hear(self.key(node), said, self.now).unwrap();
    }

    /// Applies what is proposed, until nothing is.
    pub(super) fn settle(&mut self) {
        loop {
            let proposals = self.dispatch.proposals(&self.state, self.now);
            if proposals.is_empty() {
                return;
            }
            for Proposal { ticket, commands } in proposals {
                commands.into_iter().for_each(|command| {
                    self.execute(command);
                });
                self.dispatch.applied(ticket);
            }
        }
    }

    /// Lets time pass, in which these nodes go on sending heartbeats, and those without a session come back.
    pub(super) fn pass(&mut self, time: Duration, speaking: &[NodeId]) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(250);
            speaking.iter().for_each(|node| self.beat(*node));
            self.settle();
        }
    }

    pub(super) fn outgoing(&mut self, node: NodeId) -> Vec<Message> {
        self.dispatch.outgoing(self.key(node), &self.state)
    }

    pub(super) fn is(&self, node: NodeId, state: NodeState) -> bool {
        self.state.node(node).unwrap().status.state == state
    }

    pub(super) fn count(&self, state: NodeState) -> usize {
        self.state.nodes().filter(|node| node.status.state == state).count()
    }

    /// A task on a node.
    pub(super) fn place(&mut self, node: NodeId) -> TaskId {
        if self.state.stack("shop").is_none() {
            let services = [("web".to_owned(), ServiceSpec::default())].into();
            let spec = StackSpec { name: "shop".to_owned(), services, ..StackSpec::default() };
            self.execute(Command::ApplyStack { spec, expected_version: None });
        }
        let service = self.state.service_named(&ServiceName::new("shop", "web")).unwrap().id;
        let slot = Slot::Replica(u32::try_from(self.state.task_count()).unwrap() + 1);
        let task = NewTask { service, slot, template: 1, desired: DesiredState::Running, hold_until: None };
        self.execute(Command::CreateTasks { tasks: vec![task] });
        let id = self.state.tasks_newest_first().next().unwrap().id;
        self.execute(Command::PlaceTasks { placements: vec![(id, node)] });
        id
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.execute(Command::RemoveNode { node, force: true });
    }
}

pub(super) fn held(term: u64) -> Option<Generation> {
    Some(Generation { term, session: 1, sequence: 1 })
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
