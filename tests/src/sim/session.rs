//! An agent's session: as the real conversation goes, in the real order of assignments, over a simulated stream.

use super::{
    agent_disk::Write,
    net::Machine,
    node::{Flush, NodeEvent},
    runner::Runner,
    stream::{Ending, Frame, Lane},
    time::{MILLI, Micros, SECOND},
    world::{World, trace},
};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wharf_agent::{plan::Observed, session::order::Place, task::Assigned};
use wharf_cluster::ids::TaskId;
use wharf_proto::v1::{
    AgentMessage, AssignedTask, ControllerMessage, Generation, Heartbeat, Hello, TaskReports, Welcome,
    agent_message, controller_message::Message,
};

/// For an answer to the first word.
const ANSWER: Micros = 10 * SECOND;
/// Most reports in one message.
const REPORTS: usize = 1000;
/// Pauses between sessions.
const FIRST_PAUSE: Micros = 200 * MILLI;
const LONGEST_PAUSE: Micros = 5 * SECOND;
/// Redirects that are followed without a pause.
const REDIRECTS: u32 = 3;

/// A change of the assignment that is being remembered.
#[derive(Debug)]
pub struct Change {
    generation: Generation,
    tasks: BTreeMap<TaskId, Assigned>,
    removed: BTreeSet<TaskId>,
}

/// A session, from the moment that it is dialled.
#[derive(Debug)]
pub struct Session {
    /// Its stream.
    pub stream: u64,
    place: Option<Place>,
    heard: Micros,
    patience: Micros,
    heartbeat: Micros,
    reported: u64,
    taken: bool,
    inbound: VecDeque<Frame>,
    assigning: Option<Change>,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    Redirected(String),
    /// Begin anew, with the same controller.
    Again,
    Removed,
    Failed,
}

impl World {
    /// Begins a session with the most promising controller.
    pub fn dial(&mut self, node: usize) {
        let now = self.now;
        let machine = &self.nodes[node];
        let Some(agent) = machine.agent.as_ref().filter(|agent| agent.session.is_none()) else { return };
        let address = agent.addresses.front().cloned().unwrap_or_default();
        let held = (agent.held != Generation::default()).then_some(agent.held);
        let hello = Hello { description: Some((&machine.description).into()), held };
        let Some(host) = self.controllers.iter().position(|host| host.address == address) else {
            return self.end_session(node, &End::Failed);
        };
        let stream = self.open_stream(node, host);
        if let Some(agent) = self.nodes[node].agent.as_mut() {
            agent.session = Some(Session {
                stream,
                place: None,
                heard: now,
                patience: ANSWER,
                heartbeat: ANSWER,
                reported: 0,
                taken: true,
                inbound: VecDeque::new(),
                assigning: None,
            });
        }
        self.tell(node, stream, agent_message::Message::Hello(hello));
        self.at_node(node, ANSWER, NodeEvent::Unanswered(stream));
    }

    fn tell(&mut self, _node: usize, stream: u64, message: agent_message::Message) {
        let message = AgentMessage { message: Some(message) };
        self.say(stream, Lane::Up, Frame::Message(message.encode_to_vec()));
    }

    /// Something a controller said arrives.
    pub fn node_frame(&mut self, node: usize, stream: u64, frame: Frame) {
        if let Some(agent) = self.nodes[node].agent.as_mut()
            && let Some(session) = agent.session.as_mut().filter(|session| session.stream == stream)
        {
            session.inbound.push_back(frame);
            self.tend_node(node);
        }
    }

    /// Hears and says what there is; whether there was anything.
    pub fn pump(&mut self, node: usize) -> bool {
        let now = self.now;
        let Some(agent) = self.nodes[node].agent.as_mut() else { return false };
        let Some(session) = agent.session.as_mut().filter(|session| session.assigning.is_none()) else {
            return false;
        };
        if let Some(frame) = session.inbound.pop_front() {
            session.heard = now;
            self.hear(node, frame);
            return true;
        }
        if session.place.is_none() || !session.taken {
            return false;
        }
        let reports = agent.reports.take_now(REPORTS);
        if reports.is_empty() {
            return false;
        }
        session.reported += 1;
        session.taken = false;
        let message = TaskReports { sequence: session.reported, reports };
        let stream = session.stream;
        self.tell(node, stream, agent_message::Message::Reports(message));
        true
    }

    /// No answer has come to the first word, or it came in time.
    pub fn unanswered(&mut self, node: usize, stream: u64) {
        let session = self.nodes[node].agent.as_ref().and_then(|agent| agent.session.as_ref());
        if session.is_some_and(|session| session.stream == stream && session.place.is_none()) {
            self.end_session(node, &End::Failed);
        }
    }

    /// A heartbeat is due, and what was not heard is noticed.
    pub fn heartbeat(&mut self, node: usize, stream: u64) {
        let (now, clock) = (self.now, self.nodes[node].clock);
        let Some(agent) = self.nodes[node].agent.as_mut() else { return };
        let Some(session) = agent.session.as_mut().filter(|session| session.stream == stream) else { return };
        // While a change is being remembered nothing else is looked at.
        let quiet = session.assigning.is_none() && now >= session.heard + clock.real(session.patience);
        if quiet {
            return self.end_session(node, &End::Failed);
        }
        let due = clock.real(session.heartbeat);
        if let Some(place) = session.place {
            let sequence = place.sequence.unwrap_or_default();
            self.tell(
                node,
                stream,
                agent_message::Message::Heartbeat(Heartbeat { sequence, ..Heartbeat::default() }),
            );
        }
        self.at_node(node, due, NodeEvent::Heartbeat(stream));
    }

    fn hear(&mut self, node: usize, frame: Frame) {
        let end = match frame {
            Frame::End(Ending::Removed) => Some(End::Removed),
            Frame::End(_) => Some(End::Failed),
            Frame::Message(bytes) => match ControllerMessage::decode(bytes.as_slice()) {
                Ok(message) => message.message.and_then(|message| self.understand(node, message).err()),
                Err(_) => Some(End::Failed),
            },
        };
        if let Some(end) = end {
            self.end_session(node, &end);
        }
    }

    fn understand(&mut self, node: usize, message: Message) -> Result<(), End> {
        let Some(agent) = self.nodes[node].agent.as_mut() else { return Ok(()) };
        let Some(session) = agent.session.as_mut() else { return Ok(()) };
        let Some(place) = session.place.as_mut() else {
            return match message {
                Message::Welcome(welcome) => self.welcomed(node, &welcome),
                Message::Redirect(redirect) => Err(End::Redirected(redirect.leader)),
                _ => Err(End::Failed),
            };
        };
        let again = |_| End::Again;
        match message {
            Message::Full(full) => {
                let generation = place.full(full.generation).map_err(again)?;
                self.assign(node, generation, true, full.tasks, &[])
            }
            Message::Difference(difference) => {
                let generation = place.difference(difference.generation).map_err(again)?;
                self.assign(node, generation, false, difference.tasks, &difference.removed)
            }
            Message::ReportsTaken(taken) => {
                session.taken = taken.sequence >= session.reported;
                Ok(())
            }
            Message::Controllers(controllers) => {
                let front = agent.addresses.front().cloned();
                agent.addresses = controllers.addresses.into();
                if let Some(front) = front {
                    self.prefer(node, &front);
                }
                Ok(())
            }
            Message::Redirect(redirect) => Err(End::Redirected(redirect.leader)),
            Message::Welcome(_) => Err(End::Failed),
            Message::OpenStream(_) | Message::HeartbeatTaken(_) | Message::Pace(_) => Ok(()),
        }
    }

    fn welcomed(&mut self, node: usize, welcome: &Welcome) -> Result<(), End> {
        let Some(agent) = self.nodes[node].agent.as_mut() else { return Ok(()) };
        let place = Place::begin(welcome.term, welcome.session, &agent.held).map_err(|_| End::Failed)?;
        agent.reports.renew();
        (agent.failures, agent.redirects) = (0, 0);
        let Some(session) = agent.session.as_mut() else { return Ok(()) };
        session.place = Some(place);
        session.heartbeat = (welcome.heartbeat * MILLI).max(50 * MILLI);
        session.patience = (welcome.ttl * MILLI).max(session.heartbeat * 3);
        let stream = session.stream;
        self.stats.sessions += 1;
        trace!(self, "agent {node}: session {} in term {}", welcome.session, welcome.term);
        self.at_node(node, 0, NodeEvent::Heartbeat(stream));
        Ok(())
    }

    /// Remembers a change before it is acted on.
    fn assign(
        &mut self,
        node: usize,
        generation: Generation,
        full: bool,
        records: Vec<AssignedTask>,
        removed: &[String],
    ) -> Result<(), End> {
        let Some(agent) = self.nodes[node].agent.as_mut() else { return Ok(()) };
        let mut tasks = BTreeMap::new();
        let mut changed = Vec::with_capacity(records.len());
        for record in records {
            let task = Assigned::try_from(record.clone()).map_err(|_| End::Failed)?;
            changed.push((task.id, record));
            tasks.insert(task.id, task);
        }
        let mut removed: BTreeSet<TaskId> = removed.iter().filter_map(|id| id.parse().ok()).collect();
        if full {
            removed.extend(agent.tasks.keys().filter(|id| !tasks.contains_key(id)));
        }
        let write = Write::Assign { generation, changed, removed: removed.iter().copied().collect() };
        if let Some(session) = agent.session.as_mut() {
            session.assigning = Some(Change { generation, tasks, removed });
        }
        self.write(node, write);
        self.flush(node, Flush::Assign);
        Ok(())
    }

    /// A change is remembered: it is acted on.
    pub fn assigned(&mut self, node: usize) {
        let Some(agent) = self.nodes[node].agent.as_mut() else { return };
        let Some(change) = agent.session.as_mut().and_then(|session| session.assigning.take()) else {
            return;
        };
        for (id, mut task) in change.tasks {
            let runner = agent.tasks.entry(id).or_insert_with(|| Runner {
                wanted: None,
                seen: Observed::NOTHING,
                busy: None,
                exit: None,
            });
            // It only ever moves forward, whoever says otherwise.
            task.desired = runner.desired().map_or(task.desired, |old| old.max(task.desired));
            runner.wanted = Some(task);
            agent.due.insert(id);
        }
        for id in change.removed {
            if let Some(runner) = agent.tasks.get_mut(&id) {
                runner.wanted = None;
                agent.due.insert(id);
            }
        }
        agent.held = change.generation;
        trace!(self, "agent {node} follows {:?}", change.generation);
        let checked = self.checks.agents.follows(node, &change.generation);
        self.check(checked);
    }

    /// The stream of an agent's session is no more.
    pub fn session_ended(&mut self, node: usize, stream: u64, ending: Ending) {
        // It is found out when the next message is waited for.
        self.node_frame(node, stream, Frame::End(ending));
    }

    fn prefer(&mut self, node: usize, address: &str) {
        if let Some(agent) = self.nodes[node].agent.as_mut() {
            agent.addresses.retain(|known| known != address);
            agent.addresses.push_front(address.to_owned());
        }
    }

    fn end_session(&mut self, node: usize, end: &End) {
        trace!(self, "agent {node}: no session: {end:?}");
        let Some(agent) = self.nodes[node].agent.as_mut() else { return };
        if let Some(session) = agent.session.take() {
            self.close_stream(session.stream, Machine::Node(node), Ending::Closed);
        }
        let Some(agent) = self.nodes[node].agent.as_mut() else { return };
        match end {
            End::Redirected(leader) if !leader.is_empty() => {
                if agent.redirects < REDIRECTS {
                    agent.redirects += 1;
                    self.prefer(node, leader);
                    return self.at_node(node, 0, NodeEvent::Dial);
                }
                self.prefer(node, leader);
            }
            End::Again => {}
            End::Removed => return self.leave(node),
            End::Redirected(_) | End::Failed => agent.addresses.rotate_left(1.min(agent.addresses.len())),
        }
        let Some(agent) = self.nodes[node].agent.as_mut() else { return };
        let pause = (FIRST_PAUSE << agent.failures.min(16)).min(LONGEST_PAUSE);
        agent.failures += 1;
        let pause = self.rng.within(pause / 2..=pause);
        self.at_node(node, pause, NodeEvent::Dial);
    }
}
