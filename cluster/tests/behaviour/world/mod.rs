//! A cluster without processes: the state, a replica of it, model agents, and a leader's loops, step by step.

mod agent;
mod invariants;
pub mod spec;

pub use agent::Agent;

use invariants::Invariants;
use std::collections::BTreeMap;
use wharf_cluster::{
    command::{Command, Envelope, TaskReport},
    event::Event,
    ids::{NodeId, RequestId, Timestamp},
    model::{
        NodeDescription, NodeState, Platform, ServiceName, ServiceSpec, Slot, StackSpec, Task, TaskState,
    },
    orchestrator::{Agenda, Limits, Scope, reconcile},
    scheduler::schedule,
    state::{Outcome, Reply, State},
};

/// The cluster and what is known of its past.
pub struct World {
    pub state: State,
    /// Executes the same log; was restored from a snapshot at some time.
    pub replica: State,
    pub log: Vec<Envelope>,
    pub now: Timestamp,
    pub agents: BTreeMap<NodeId, Agent>,
    pub agenda: Agenda,
    pub limits: Limits,
    /// Whether `bad` images fail.
    pub failing: bool,
    /// Reports that were delivered, and may come again.
    pub stale: Vec<TaskReport>,
    invariants: Invariants,
    requests: u128,
}

impl World {
    pub fn new() -> Self {
        World {
            state: State::default(),
            replica: State::default(),
            log: Vec::new(),
            now: Timestamp(1_000_000),
            agents: BTreeMap::new(),
            agenda: Agenda::everything(),
            limits: Limits::default(),
            failing: true,
            stale: Vec::new(),
            invariants: Invariants::default(),
            requests: 0,
        }
    }

    /// A world with so many ready nodes.
    pub fn with_nodes(count: usize) -> Self {
        let mut world = World::new();
        for _ in 0..count {
            world.add_node(4_000_000_000, 1_000);
        }
        world
    }

    pub fn add_node(&mut self, nano_cpus: u64, memory: u64) -> NodeId {
        let description = NodeDescription {
            hostname: format!("node-{}", self.agents.len() + 1),
            platform: Platform { os: "linux".into(), architecture: "amd64".into() },
            nano_cpus,
            memory,
            runtimes: vec!["wharf".into()],
            ..NodeDescription::default()
        };
        let Ok(Reply::Node(id)) = self.propose(Command::RegisterNode { description }) else {
            panic!("a node can always join")
        };
        self.agents.insert(id, Agent::new(id));
        self.set_node(id, NodeState::Ready);
        id
    }

    pub fn set_node(&mut self, id: NodeId, to: NodeState) {
        let nodes = vec![(id, to, String::new())];
        self.propose(Command::SetNodeStates { nodes }).expect("never refused");
    }

    pub fn node(&self, index: usize) -> NodeId {
        *self.agents.keys().nth(index).expect("there are enough nodes")
    }

    /// The node vanishes: it hears nothing, and is declared down.
    pub fn lose(&mut self, id: NodeId) {
        self.agents.get_mut(&id).expect("known").connected = false;
        self.set_node(id, NodeState::Down);
    }

    pub fn bring_back(&mut self, id: NodeId) {
        self.agents.get_mut(&id).expect("known").connected = true;
        self.set_node(id, NodeState::Ready);
    }

    /// Executes a command on every replica, and checks what must always hold.
    pub fn propose(&mut self, command: Command) -> Outcome {
        self.execute(Envelope { at: self.now, request: None, command })
    }

    /// The same for a client's command, which is sent twice: its retry must change nothing.
    pub fn request(&mut self, command: Command) -> Outcome {
        self.requests += 1;
        let request = Some(RequestId(self.requests));
        let envelope = Envelope { at: self.now, request, command };
        let first = self.execute(envelope.clone());
        let events = self.state.clone().execute(&envelope).1;
        assert_eq!(events, [], "a retry does nothing");
        let again = self.execute(envelope);
        assert_eq!(first, again, "a retry gets the first answer");
        first
    }

    fn execute(&mut self, envelope: Envelope) -> Outcome {
        let (outcome, events) = self.state.execute(&envelope);
        let (same, same_events) = self.replica.execute(&envelope);
        assert_eq!((&outcome, &events), (&same, &same_events), "replicas do the same");
        self.log.push(envelope);
        for event in &events {
            self.agenda.observe(&self.state, event);
            if let Event::NodeRemoved { node } = event {
                self.agents.remove(node);
            }
        }
        self.invariants.check(&self.state, &events, &self.agents);
        outcome
    }

    /// The replica is replaced by one that starts from a snapshot.
    pub fn restore_replica(&mut self) {
        let snapshot = serde_json::to_vec(&self.state).expect("a state can be written");
        self.replica = serde_json::from_slice(&snapshot).expect("and read");
        assert_eq!(self.replica, self.state, "a snapshot holds everything");
    }

    pub fn apply(&mut self, stack: &str, services: Vec<(&str, ServiceSpec)>) -> Outcome {
        let services = services.into_iter().map(|(name, spec)| (name.to_owned(), spec)).collect();
        let spec = StackSpec { name: stack.to_owned(), services, ..StackSpec::default() };
        self.request(Command::ApplyStack { spec, expected_version: None })
    }

    /// One turn of the leader's loops. Whether it proposed anything.
    pub fn lead(&mut self) -> bool {
        let scope = self.agenda.take(&self.state, self.now);
        let orchestrated = self.orchestrate(&scope);
        self.place() || orchestrated
    }

    pub fn orchestrate(&mut self, scope: &Scope) -> bool {
        let plan = reconcile(&self.state, scope, self.now, &self.limits);
        self.agenda.absorb(&plan);
        let any = !plan.commands.is_empty();
        for command in plan.commands {
            self.propose(command).expect("loops propose what holds");
        }
        any
    }

    pub fn place(&mut self) -> bool {
        let decisions = schedule(&self.state);
        let commands = decisions.commands();
        let any = !commands.is_empty();
        for command in commands {
            self.propose(command).expect("never refused");
        }
        for (task, node) in decisions.placed {
            let placed = self.state.task(task).and_then(|task| task.node);
            assert_eq!(placed, Some(node), "a placement is accepted where it was decided");
        }
        any
    }

    /// Every agent hears, and goes one step. Whether anything changed.
    pub fn work(&mut self) -> bool {
        let mut any = false;
        for agent in self.agents.values_mut() {
            agent.hear(&self.state);
            any |= agent.step(self.now, self.failing);
        }
        self.invariants.check(&self.state, &[], &self.agents);
        any
    }

    /// Everything that connected agents have to say is said.
    pub fn deliver(&mut self) -> bool {
        let mut reports = Vec::new();
        for agent in self.agents.values_mut().filter(|agent| agent.connected) {
            reports.append(&mut agent.outbox);
        }
        if reports.is_empty() {
            return false;
        }
        self.stale.extend(reports.iter().cloned());
        self.propose(Command::ReportTasks { reports }).expect("never refused");
        true
    }

    /// One round of everything, without time passing. Whether anything happened.
    pub fn round(&mut self) -> bool {
        let led = self.lead();
        let worked = self.work();
        let delivered = self.deliver();
        led || worked || delivered
    }

    /// Lets everything happen until nothing does, and time pass to what is due, up to `until`.
    pub fn run_until(&mut self, until: Timestamp) {
        for _ in 0..20_000 {
            if self.round() {
                continue;
            }
            match self.agenda.next_wake().filter(|wake| *wake <= until) {
                Some(wake) => self.now = self.now.max(wake),
                None => return,
            }
        }
        panic!("no end: {:#?}", reconcile(&self.state, &Scope::All, self.now, &self.limits));
    }

    pub fn run_for(&mut self, millis: u64) {
        let until = self.now.plus(millis);
        self.run_until(until);
        self.now = until;
    }

    /// The same without a bound on time: until nothing is left to do.
    pub fn settle(&mut self) {
        self.run_until(Timestamp(u64::MAX / 2));
    }

    pub fn service(&self, name: &str) -> &wharf_cluster::model::Service {
        let name: ServiceName = name.parse().expect("stack/service");
        self.state.service_named(&name).expect("the service is there")
    }

    pub fn tasks(&self, name: &str) -> Vec<Task> {
        self.state.tasks_of(self.service(name).id).map(|task| (**task).clone()).collect()
    }

    /// The tasks that are wanted and run.
    pub fn running(&self, name: &str) -> Vec<Task> {
        let runs = |task: &Task| task.is_wanted() && task.status.state == TaskState::Running;
        self.tasks(name).into_iter().filter(runs).collect()
    }

    pub fn running_images(&self, name: &str) -> Vec<String> {
        let image = |task: &Task| self.state.template_of(task).expect("kept").container.image.clone();
        self.running(name).iter().map(image).collect()
    }

    /// The slots with a running task, in order.
    pub fn running_slots(&self, name: &str) -> Vec<u32> {
        let number = |task: Task| match task.slot {
            Slot::Replica(number) => number,
            Slot::Node(node) => u32::try_from(node.0).expect("small"),
        };
        self.running(name).into_iter().map(number).collect()
    }
}
