//! A machine with an agent: its containers outlive the agent and die with the machine. The agent does what the real
//! one's planner says.

use super::{
    agent_disk::{AgentDisk, Write},
    net::Machine,
    runner::{Runner, Work},
    session::Session,
    stream::Ending,
    time::{Clock, MILLI, Micros},
    world::{Event, World, trace},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wharf_agent::{
    plan::{Container as Seen, Observed},
    reports::Reports,
    task::{Assigned, Status},
};
use wharf_cluster::{
    ids::{NodeId, TaskId},
    model::{NodeDescription, TaskState},
};
use wharf_proto::v1::Generation;

/// How often the database is flushed though nobody waits for it.
const FLUSH_EVERY: Micros = 500 * MILLI;

/// Something of an agent's own.
#[derive(Clone, Copy, Debug)]
pub enum NodeEvent {
    /// It starts, after a crash.
    Start,
    /// It begins a session.
    Dial,
    /// The first word on this stream should have been answered.
    Unanswered(u64),
    /// A heartbeat is due in the session on this stream.
    Heartbeat(u64),
    /// The stream of its session is no more.
    StreamEnded {
        /// Which stream.
        stream: u64,
        /// How it ended.
        ending: Ending,
    },
    /// The database is on the disk.
    Flushed(u64),
    /// What was under way for a task is done.
    Done {
        /// The task.
        task: TaskId,
        /// Which piece of work.
        run: u64,
    },
    /// A container's end is noticed.
    Noticed(TaskId),
}

/// Who waits for a flush.
#[derive(Debug)]
pub enum Flush {
    /// Nobody.
    Nobody,
    /// The session, to act on its change.
    Assign,
    /// A task that is being cleaned.
    Clean(TaskId),
}

/// A container.
#[derive(Clone, Copy, Debug)]
pub struct Container {
    /// Which of all containers.
    pub run: u64,
    /// How it ended, if it has.
    pub exit: Option<i32>,
}

/// A running agent.
pub struct Agent {
    /// Where controllers are, the most promising first.
    pub addresses: VecDeque<String>,
    /// What the controller has still to be told.
    pub reports: Reports,
    /// The generation that is followed.
    pub held: Generation,
    /// Its tasks.
    pub tasks: BTreeMap<TaskId, Runner>,
    /// Tasks to look at.
    pub due: BTreeSet<TaskId>,
    /// The session, from the moment that it is dialled.
    pub session: Option<Session>,
    /// Sessions in a row that came to nothing.
    pub failures: u32,
    /// Redirects in a row.
    pub redirects: u32,
    flushes: BTreeMap<u64, (usize, Flush)>,
}

/// A machine with an agent.
pub struct NodeHost {
    /// The node that it is, once it has joined.
    pub id: Option<NodeId>,
    /// What it is like.
    pub description: NodeDescription,
    /// Its clocks.
    pub clock: Clock,
    /// Counts the agent's starts and ends.
    pub life: u64,
    /// The agent, if it runs.
    pub agent: Option<Agent>,
    /// Its database.
    pub disk: AgentDisk,
    /// Its containers.
    pub containers: BTreeMap<TaskId, Container>,
    /// Tasks whose root filesystem and network are there.
    pub prepared: BTreeSet<TaskId>,
    /// What was put aside while it stands still.
    pub paused: Option<Vec<Event>>,
}

impl NodeHost {
    /// The containers that run.
    pub fn running(&self) -> impl Iterator<Item = TaskId> {
        self.containers.iter().filter(|(_, container)| container.exit.is_none()).map(|(id, _)| *id)
    }
}

impl World {
    /// Plans something of an agent's own.
    pub fn at_node(&mut self, node: usize, delay: Micros, what: NodeEvent) {
        let life = self.nodes[node].life;
        self.after(delay, Event::Node { node, life, what });
    }

    /// Starts an agent from its database and what is on the machine.
    pub fn start_agent(&mut self, node: usize) {
        let addresses: VecDeque<String> =
            self.controllers.iter().filter(|host| host.id != 0).map(|host| host.address.clone()).collect();
        let machine = &mut self.nodes[node];
        if machine.agent.is_some() || machine.id.is_none() {
            return;
        }
        machine.life += 1;
        let kept = machine.disk.load();
        let mut seen: BTreeMap<TaskId, Observed> = BTreeMap::new();
        for id in kept.tasks.keys() {
            seen.insert(*id, Observed::NOTHING);
        }
        for (id, status) in &kept.statuses {
            seen.entry(*id).or_insert(Observed::NOTHING).state = Some(status.state);
        }
        for (id, container) in &machine.containers {
            let one = seen.entry(*id).or_insert(Observed::NOTHING);
            one.leftovers = true;
            one.container = if container.exit.is_some() { Seen::Ended } else { Seen::Running };
        }
        for id in &machine.prepared {
            let one = seen.entry(*id).or_insert(Observed::NOTHING);
            (one.leftovers, one.prepared) = (true, true);
        }
        let exits = &machine.containers;
        let tasks: BTreeMap<TaskId, Runner> = seen
            .into_iter()
            .map(|(id, seen)| {
                let assigned = kept.tasks.get(&id).and_then(|task| Assigned::try_from(task.clone()).ok());
                let exit = exits.get(&id).and_then(|container| container.exit);
                (id, Runner { wanted: assigned, seen, busy: None, exit })
            })
            .collect();
        let agent = Agent {
            addresses,
            reports: Reports::new(kept.statuses.clone()),
            held: kept.held,
            due: tasks.keys().copied().collect(),
            tasks,
            session: None,
            failures: 0,
            redirects: 0,
            flushes: BTreeMap::new(),
        };
        machine.agent = Some(agent);
        trace!(self, "agent {node} starts");
        self.at_node(node, MILLI, NodeEvent::Dial);
        self.tend_node(node);
    }

    /// An agent's process is gone; its containers are as they were, whatever it was about to do.
    pub fn stop_agent(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        let Some(agent) = machine.agent.take() else { return };
        machine.life += 1;
        machine.paused = None;
        machine.disk.crash(&mut self.rng);
        for (task, runner) in &agent.tasks {
            let reached = self.rng.chance(0.5);
            match runner.busy {
                Some((_, Work::Prepare)) if reached => drop(self.nodes[node].prepared.insert(*task)),
                Some((_, Work::Start)) if reached => self.start_container(node, *task, &runner.image()),
                Some((_, Work::Stop)) if reached => self.end_container(node, *task, 143),
                _ => {}
            }
        }
        trace!(self, "agent {node} stops");
        let streams: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.node == node && stream.node_open)
            .map(|(number, _)| *number)
            .collect();
        for stream in streams {
            self.close_stream(stream, Machine::Node(node), Ending::Broken);
        }
    }

    /// A machine goes down and comes up again: its containers are gone.
    pub fn reboot(&mut self, node: usize) {
        self.stop_agent(node);
        for (task, container) in std::mem::take(&mut self.nodes[node].containers) {
            if container.exit.is_none() {
                self.checks.agents.ended(task);
            }
        }
        self.nodes[node].prepared.clear();
    }

    /// Something of its own happens at an agent.
    pub fn node_event(&mut self, node: usize, what: NodeEvent) {
        if let NodeEvent::Start = what {
            return self.start_agent(node);
        }
        match what {
            NodeEvent::Start => {}
            NodeEvent::Dial => self.dial(node),
            NodeEvent::Unanswered(stream) => self.unanswered(node, stream),
            NodeEvent::Heartbeat(stream) => self.heartbeat(node, stream),
            NodeEvent::StreamEnded { stream, ending } => self.session_ended(node, stream, ending),
            NodeEvent::Flushed(flush) => self.flushed(node, flush),
            NodeEvent::Done { task, run } => self.work_done(node, task, run),
            NodeEvent::Noticed(task) => self.exit_noticed(node, task),
        }
        self.tend_node(node);
    }

    /// Lets an agent do what it has to.
    pub fn tend_node(&mut self, node: usize) {
        loop {
            let Some(agent) = self.nodes[node].agent.as_mut() else { return };
            if let Some(task) = agent.due.pop_first() {
                self.advance(node, task);
            } else if !self.pump(node) {
                return;
            }
        }
    }

    /// Writes to an agent's database.
    pub fn write(&mut self, node: usize, write: Write) {
        self.nodes[node].disk.write(write);
        let Some(agent) = self.nodes[node].agent.as_ref() else { return };
        if !agent.flushes.values().any(|(_, flush)| matches!(flush, Flush::Nobody)) {
            self.flush_after(node, FLUSH_EVERY, Flush::Nobody);
        }
    }

    /// Flushes an agent's database for somebody who waits for it.
    pub fn flush(&mut self, node: usize, whom: Flush) {
        let delay = self.rng.around(self.options.agent_disk_delay);
        self.flush_after(node, delay, whom);
    }

    fn flush_after(&mut self, node: usize, delay: Micros, whom: Flush) {
        let number = self.number();
        let machine = &mut self.nodes[node];
        let covers = machine.disk.covers();
        let Some(agent) = machine.agent.as_mut() else { return };
        agent.flushes.insert(number, (covers, whom));
        self.at_node(node, delay, NodeEvent::Flushed(number));
    }

    fn flushed(&mut self, node: usize, number: u64) {
        let machine = &mut self.nodes[node];
        let Some(agent) = machine.agent.as_mut() else { return };
        let Some((covers, whom)) = agent.flushes.remove(&number) else { return };
        // What one flush brought to the disk, others need not.
        let covers = if matches!(whom, Flush::Nobody) { machine.disk.covers() } else { covers };
        machine.disk.flushed(covers);
        for (left, _) in agent.flushes.values_mut() {
            *left = left.saturating_sub(covers);
        }
        match whom {
            Flush::Nobody => {}
            Flush::Assign => self.assigned(node),
            Flush::Clean(task) => self.cleaned(node, task),
        }
    }

    /// A task has come further; it is kept and told.
    pub fn report(&mut self, node: usize, task: TaskId, state: TaskState, exit: Option<i32>) {
        let at = self.nodes[node].clock.wall(self.now).0;
        let Some(runner) = self.nodes[node].agent.as_mut().and_then(|agent| agent.tasks.get_mut(&task))
        else {
            return;
        };
        if runner.seen.state.is_some_and(|now| !now.may_become(state)) {
            return;
        }
        runner.seen.state = Some(state);
        let exit = exit.map(|code| wharf_cluster::model::Exit { code, oom_killed: false });
        let status = Status { state, at, message: String::new(), exit, pid: None, ports: Vec::new() };
        trace!(self, "agent {node}: task {task} is {state}");
        self.write(node, Write::Status(task, status.clone()));
        if let Some(agent) = &self.nodes[node].agent {
            agent.reports.set(task, status);
        }
    }
}
