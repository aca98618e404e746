//! A small state for tests: one node, one service.

use wharf_cluster::{
    command::{Command, Envelope, NewTask, TaskReport},
    ids::{NodeId, TaskId, Timestamp},
    model::{DesiredState, NodeDescription, NodeState, ServiceName, ServiceSpec, Slot, StackSpec, TaskState},
    state::{Reply, State},
};

pub(super) struct Fixture {
    pub(super) state: State,
    pub(super) node: NodeId,
    slot: u32,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let mut fixture = Fixture { state: State::default(), node: NodeId(0), slot: 0 };
        let description = NodeDescription { hostname: "one".to_owned(), ..NodeDescription::default() };
        let Reply::Node(node) = fixture.execute(Command::RegisterNode { description }) else {
            panic!("no node")
        };
        fixture.node = node;
        fixture.execute(Command::SetNodeStates { nodes: vec![(node, NodeState::Ready, String::new())] });
        let spec = StackSpec {
            name: "shop".to_owned(),
            services: [("web".to_owned(), ServiceSpec::default())].into(),
            ..StackSpec::default()
        };
        fixture.execute(Command::ApplyStack { spec, expected_version: None });
        fixture
    }

    fn execute(&mut self, command: Command) -> Reply {
        self.state.execute(&Envelope { at: Timestamp(1), request: None, command }).0.unwrap()
    }

    /// A task that is placed on the node.
    pub(super) fn place(&mut self) -> TaskId {
        self.slot += 1;
        let service = self.state.service_named(&ServiceName::new("shop", "web")).unwrap().id;
        let slot = Slot::Replica(self.slot);
        let task = NewTask { service, slot, template: 1, desired: DesiredState::Running, hold_until: None };
        self.execute(Command::CreateTasks { tasks: vec![task] });
        let id = self.state.tasks_in(service, slot).next().unwrap().id;
        self.execute(Command::PlaceTasks { placements: vec![(id, self.node)] });
        id
    }

    pub(super) fn desire(&mut self, task: TaskId, desired: DesiredState) {
        self.execute(Command::SetDesired { tasks: vec![(task, desired)] });
    }

    pub(super) fn report(&mut self, report: TaskReport) {
        self.execute(Command::ReportTasks { reports: vec![report] });
    }

    pub(super) fn remove(&mut self, task: TaskId) {
        self.execute(Command::RemoveTasks { tasks: vec![task] });
    }
}

pub(super) fn report(task: TaskId, node: NodeId, state: TaskState) -> TaskReport {
    TaskReport {
        task,
        node,
        state,
        at: Timestamp(1),
        message: "".into(),
        exit: None,
        pid: None,
        ports: vec![],
    }
}
