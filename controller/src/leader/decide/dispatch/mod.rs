//! The dispatcher's decisions: the agents' sessions, what each is told to hold, what they report, and whether they are
//! there.
//!
//! A [`Dispatch`] exists for the time of one leadership. Its host
//!
//! * carries what agents say into it ([`Dispatch::open`], [`Dispatch::hear`], [`Dispatch::close`]), and every applied
//!   event ([`Dispatch::observe`]);
//! * after each call asks what that stirred ([`Dispatch::stirred`]): sessions that have something to say get their
//!   [`Dispatch::outgoing`] messages, ended ones are closed, and if there is something to propose,
//!   [`Dispatch::proposals`] has it;
//! * says which proposals were applied ([`Dispatch::applied`]), and comes back by [`Dispatch::next_deadline`].
//!
//! Time is what has passed since any fixed moment, and never goes back. `state` is always one in which every observed
//! event has been applied, or a newer one.

mod assignment;
mod brake;
#[cfg(test)]
mod fixture;
mod holdings;
mod liveness;
mod messages;
mod news;
mod reports;
mod session;
#[cfg(test)]
mod tests;
mod verdicts;

pub use messages::Refusal;
pub use session::SessionKey;

use crate::settings::Timings;
use holdings::Holdings;
use news::News;
use reports::Reports;
use session::{Outbox, Session, Told};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use verdicts::{Terms, Verdicts};
use wharf_cluster::{
    command::Command,
    event::Event,
    ids::NodeId,
    model::NodeState,
    planted::{self, Bug},
    state::State,
};
use wharf_proto::v1::{OpenStream, controller_message::Message};

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This controller leads no longer.
    Deposed,
    /// The node has begun another session.
    Replaced,
    /// The node was removed from the cluster.
    Removed,
    /// Nothing was heard of the node for too long.
    Silent,
}

/// Names a proposal until it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// Whether nodes answer, and what they are.
    Nodes,
    /// What agents report.
    Reports,
}

/// What is to be proposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// To be handed to [`Dispatch::applied`].
    pub ticket: Ticket,
    /// The commands, in this order.
    pub commands: Vec<Command>,
}

/// What calls have stirred since it was last asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stirred {
    /// Sessions that have something to say.
    pub awake: Vec<SessionKey>,
    /// Sessions that are over, and why.
    pub ended: Vec<(SessionKey, Ending)>,
    /// There is something to propose.
    pub propose: bool,
}

/// The dispatcher of one leadership.
#[derive(Debug)]
pub struct Dispatch {
    term: u64,
    timings: Timings,
    sessions: BTreeMap<NodeId, Session>,
    /// The number of the latest session.
    numbers: u64,
    holdings: Holdings,
    verdicts: Verdicts,
    news: News,
    reports: Reports,
    controllers: Vec<String>,
    nodes: usize,
    awake: BTreeSet<NodeId>,
    ended: Vec<(SessionKey, Ending)>,
    is_over: bool,
}

impl Dispatch {
    /// A dispatcher without sessions, in Raft's `term`. Every node that isn't known to be down gets its full time to
    /// come back. Sessions are counted on from `numbers`: 0, or what an earlier dispatcher of the same term has left
    /// ([`Dispatch::end`]).
    #[must_use]
    pub fn new(term: u64, numbers: u64, timings: Timings, state: &State, now: Duration) -> Self {
        let nodes = state.nodes().count();
        let grace = if planted::is(Bug::NoGrace) { Duration::ZERO } else { timings.ttl_for(nodes) };
        let numbers = if planted::is(Bug::SessionsCountedAnew) { 0 } else { numbers };
        let mut verdicts = Verdicts::new(now, timings.mass_loss_hold);
        for node in state.nodes().filter(|node| node.status.state != NodeState::Down) {
            verdicts.heard(node.id, now, grace);
        }
        Dispatch {
            term,
            timings,
            sessions: BTreeMap::new(),
            numbers,
            holdings: Holdings::of(state),
            verdicts,
            news: News::default(),
            reports: Reports::default(),
            controllers: addresses(state),
            nodes,
            awake: BTreeSet::new(),
            ended: Vec::new(),
            is_over: false,
        }
    }

    /// Raft's term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The leadership is over: every session ends, and none begins any more. The number of the latest one.
    pub fn end(&mut self) -> u64 {
        self.is_over = true;
        let all: Vec<NodeId> = self.sessions.keys().copied().collect();
        for node in all {
            self.end_session(node, Ending::Deposed);
        }
        self.numbers
    }

    /// A session's stream has ended. Its node has its time to begin another one.
    pub fn close(&mut self, session: SessionKey) {
        if self.is_open(session) {
            self.sessions.remove(&session.node);
            self.awake.remove(&session.node);
        }
    }

    /// Whether a session has begun, and not ended.
    #[must_use]
    pub fn is_open(&self, session: SessionKey) -> bool {
        self.sessions.get(&session.node).is_some_and(|open| open.key == session)
    }

    /// Asks a node's agent for a stream.
    ///
    /// # Errors
    /// When it has no session, or is asked for too many already.
    pub fn ask(&mut self, node: NodeId, stream: OpenStream) -> Result<SessionKey, Unasked> {
        let session = self.sessions.get_mut(&node).ok_or(Unasked::NoSession)?;
        if !session.outbox.ask(stream) {
            return Err(Unasked::Busy);
        }
        self.awake.insert(node);
        Ok(session.key)
    }

    /// Follows an event that was applied.
    pub fn observe(&mut self, state: &State, event: &Event) {
        if let Some((node, task)) = self.holdings.follow(event) {
            self.say(node, |outbox| {
                outbox.changed.insert(task);
            });
        }
        match event {
            Event::NodeRegistered { .. } => self.count(self.nodes + 1),
            Event::NodeRemoved { node } => {
                self.verdicts.forget(*node);
                self.end_session(*node, Ending::Removed);
                self.count(self.nodes.saturating_sub(1));
            }
            Event::NodeStateChanged { node, state: to, .. } if *to != NodeState::Ready => {
                self.declared(*node, *to);
            }
            Event::ControllerRecorded { .. } | Event::ControllerRemoved { .. } => {
                self.list_controllers(state);
            }
            _ => {}
        }
    }

    /// Anything may have changed.
    pub fn observe_everything(&mut self, state: &State) {
        self.holdings = Holdings::of(state);
        let gone = |node: &NodeId| state.node(*node).is_none();
        let gone: Vec<NodeId> = self.sessions.keys().copied().filter(gone).collect();
        for node in gone {
            self.verdicts.forget(node);
            self.end_session(node, Ending::Removed);
        }
        self.count(state.nodes().count());
        self.say_to_all(|outbox| outbox.full = true);
        self.sessions.keys().for_each(|node| self.news.answers(*node));
        self.list_controllers(state);
    }

    /// What is to be said in a session now, in this order; nothing in one that has ended.
    #[must_use]
    pub fn outgoing(&mut self, session: SessionKey, state: &State) -> Vec<Message> {
        let (heartbeat, ttl) = (self.heartbeat(), self.ttl());
        let Some(open) = self.sessions.get_mut(&session.node).filter(|open| open.key == session) else {
            return Vec::new();
        };
        self.awake.remove(&session.node);
        open.outgoing(&Told {
            term: self.term,
            heartbeat,
            ttl,
            controllers: &self.controllers,
            holdings: &self.holdings,
            state,
        })
    }

    /// What is to be proposed now. Of each kind, nothing more comes before the last was applied. If one fails, this
    /// controller leads no longer, and a new dispatcher is made when it leads again.
    #[must_use]
    pub fn proposals(&mut self, state: &State, now: Duration) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        let (heartbeat, ttl) = (self.heartbeat(), self.ttl());
        self.verdicts.look(now, heartbeat, ttl);
        let commands = self.about_nodes(state, now);
        if !commands.is_empty() {
            self.news.proposed();
            proposals.push(Proposal { ticket: Ticket::Nodes, commands });
        }
        while let Some(reports) = self.reports.propose() {
            if reports.is_empty() {
                self.applied(Ticket::Reports);
                continue;
            }
            proposals
                .push(Proposal { ticket: Ticket::Reports, commands: vec![Command::ReportTasks { reports }] });
        }
        proposals
    }

    /// All commands of a proposal were applied, or refused by the state.
    pub fn applied(&mut self, ticket: Ticket) {
        match ticket {
            Ticket::Nodes => self.news.applied(),
            Ticket::Reports => {
                for (session, sequence) in self.reports.applied() {
                    if self.is_open(session) {
                        self.say(session.node, |outbox| outbox.taken = outbox.taken.max(Some(sequence)));
                    }
                }
            }
        }
    }

    /// When [`Dispatch::proposals`] is to be called at the latest, though nothing may have been stirred by then.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        let look = self.verdicts.next_look(self.heartbeat());
        let verdict = self.verdicts.next().filter(|_| !self.news.is_proposed());
        verdict.map_or(look, |verdict| verdict.min(look))
    }

    /// What calls have stirred since it was last asked.
    pub fn stirred(&mut self) -> Stirred {
        let awake = std::mem::take(&mut self.awake);
        Stirred {
            awake: awake.iter().filter_map(|node| Some(self.sessions.get(node)?.key)).collect(),
            ended: std::mem::take(&mut self.ended),
            propose: self.reports.is_due() || self.news.is_due(),
        }
    }

    /// How often agents should say that they are there.
    fn heartbeat(&self) -> Duration {
        self.timings.heartbeat_for(self.nodes)
    }

    /// After what silence nodes are given up.
    fn ttl(&self) -> Duration {
        self.timings.ttl_for(self.nodes)
    }

    /// Has a node's session say something, if it has one.
    fn say(&mut self, node: NodeId, what: impl FnOnce(&mut Outbox)) {
        if let Some(session) = self.sessions.get_mut(&node) {
            what(&mut session.outbox);
            self.awake.insert(node);
        }
    }

    fn say_to_all(&mut self, what: impl Fn(&mut Outbox)) {
        for (node, session) in &mut self.sessions {
            what(&mut session.outbox);
            self.awake.insert(*node);
        }
    }

    fn end_session(&mut self, node: NodeId, why: Ending) {
        if let Some(session) = self.sessions.remove(&node) {
            self.awake.remove(&node);
            self.ended.push((session.key, why));
        }
    }

    fn list_controllers(&mut self, state: &State) {
        let now = addresses(state);
        if self.controllers != now {
            self.controllers = now;
            self.say_to_all(|outbox| outbox.controllers = true);
        }
    }

    /// Whether nodes answer, and what they are.
    fn about_nodes(&mut self, state: &State, now: Duration) -> Vec<Command> {
        if self.news.is_proposed() {
            return Vec::new();
        }
        let mut commands = self.news.commands(state);
        if self.verdicts.is_due(now) {
            let judged = self.judge(state, now);
            if !judged.is_empty() {
                commands.push(Command::SetNodeStates { nodes: judged });
            }
        }
        commands
    }

    /// What silent nodes are to be declared.
    fn judge(&mut self, state: &State, now: Duration) -> Vec<(NodeId, NodeState, String)> {
        let there = state.nodes().filter(|node| node.status.state != NodeState::Down).count();
        let terms = Terms { now, heartbeat: self.heartbeat(), ttl: self.ttl(), there };
        let silent = self.verdicts.judge(terms);
        let mut judged = Vec::new();
        for (node, silence) in silent.down {
            self.end_session(node, Ending::Silent);
            let Some(known) = state.node(node) else { continue };
            let why = format!("no heartbeat for {:.1} s", silence.as_secs_f64());
            tracing::warn!(%node, name = known.name, reason = why, "a node is down");
            judged.push((node, NodeState::Down, why));
        }
        let (held, hold) = (self.verdicts.held(), humantime::format_duration(self.timings.mass_loss_hold));
        for (node, silence) in silent.unknown {
            let Some(known) = state.node(node) else { continue };
            tracing::warn!(%node, name = known.name, silent_s = silence.as_secs_f64(), "a node is unknown");
            let why = format!(
                "vanished with others ({held} of {there} nodes so far): not given up for {hold}, its tasks stay; if it \
                 is lost: wharf node down {}",
                known.name
            );
            judged.push((node, NodeState::Unknown, why));
        }
        judged
    }

    /// Whether a node's agent has a session, and has said something of late.
    #[must_use]
    pub fn is_answering(&self, node: NodeId, now: Duration) -> bool {
        self.sessions.contains_key(&node) && self.verdicts.is_answering(node, now, self.heartbeat())
    }

    /// A node was declared to be what it may not be: its agent may have spoken meanwhile.
    fn declared(&mut self, node: NodeId, to: NodeState) {
        let answers = self.sessions.contains_key(&node)
            && !self.verdicts.misses(node)
            && self.verdicts.was_answering(node, self.heartbeat());
        if answers {
            self.news.answers(node);
        } else if to == NodeState::Down {
            self.verdicts.forget(node);
            self.end_session(node, Ending::Silent);
        }
    }

    /// There are so many nodes; if heartbeats have another period then, all agents hear of it.
    fn count(&mut self, nodes: usize) {
        let before = self.heartbeat();
        self.nodes = nodes;
        if self.heartbeat() != before {
            self.say_to_all(|outbox| outbox.pace = true);
        }
    }
}

/// Why an agent was not asked for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// It has no session.
    NoSession,
    /// It is asked for too many already.
    Busy,
}

fn addresses(state: &State) -> Vec<String> {
    state.controllers().map(|controller| controller.address.clone()).collect()
}
