//! What a controller does while it leads: the real decisions, hosted as the controller's loops host them.

use super::{
    controller::{ControllerEvent, Process, Reported, Token},
    net::Machine,
    stream::{Ending as StreamEnding, Frame, Lane},
    time::{MILLI, Micros, SECOND},
    world::{World, trace},
};
use prost::Message as _;
use std::{collections::BTreeMap, time::Duration};
use wharf_cluster::{
    command::{Command, Envelope},
    ids::{ControllerId, Timestamp},
    orchestrator::Limits,
    state::Outcome,
};
use wharf_controller::{
    leader::decide::{
        LeaderClock, Orchestrating, Scheduling,
        dispatch::{Dispatch, Ending, Refusal, SessionKey, Ticket},
    },
    leadership::Leadership,
    membership::{Step, next_step},
    raft::{Applied, ChangeError, Members, MembershipRequest, ProposeError},
    replica::{Change, Changes},
    settings::Timings,
};
use wharf_proto::{
    codec::encode_command,
    v1::{AgentMessage, ControllerMessage, Redirect, agent_message, controller_message::Message},
};

/// What is waited before loops that ended by themselves begin again.
const RESTART_PAUSE: Micros = 200 * MILLI;
/// What is waited before a command is proposed again when too much was under way.
const OVERLOAD_PAUSE: Micros = 50 * MILLI;
/// Time between two changes of the members.
const PACE: Micros = 100 * MILLI;
/// How long an agent waits for a controller that doesn't know a leader yet.
const ELECTION: Micros = 2 * SECOND;

/// One leadership.
pub struct Leading {
    number: u64,
    term: u64,
    began: Micros,
    changes: Changes,
    clock: LeaderClock,
    orchestrating: Orchestrating,
    scheduling: Scheduling,
    dispatch: Dispatch,
    /// Commands under way of the orchestrators, and of the scheduler.
    orchestrated: usize,
    scheduled: usize,
    /// Proposals of the dispatcher: what they are, and how many of their commands are under way.
    tickets: BTreeMap<u64, (Ticket, usize)>,
    streams: BTreeMap<SessionKey, u64>,
    keys: BTreeMap<u64, SessionKey>,
    changing: bool,
    change_not_before: Micros,
    wakes: Micros,
}

impl Leading {
    /// Its number among all leaderships of the run.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    fn since(&self, local: Micros) -> Duration {
        Duration::from_micros(local.saturating_sub(self.began))
    }
}

impl World {
    fn leading(&mut self, host: usize) -> Option<&mut Leading> {
        self.controllers[host].process.as_mut()?.leading.as_mut()
    }

    /// The time that a controller stamps on what it proposes.
    pub fn stamp(&self, host: usize) -> Timestamp {
        let controller = &self.controllers[host];
        let wall = controller.clock.wall(self.now);
        let leading = controller.process.as_ref().and_then(|process| process.leading.as_ref());
        let local = Duration::from_micros(controller.clock.local(self.now));
        leading.map_or(wall, |leading| leading.clock.now(wall, local))
    }

    /// What a controller knows of the leadership has changed.
    pub fn leadership_changed(&mut self, host: usize, _before: Leadership) {
        let Some(process) = self.controllers[host].process.as_ref() else { return };
        let now = process.leadership;
        if process.leading.as_ref().is_some_and(|leading| !now.leading || leading.term != now.term) {
            self.end_leading(host);
        }
        self.begin_leading(host);
        self.retry_calls(host);
        if now.leading || now.leader.is_some_and(|leader| leader != self.controllers[host].id) {
            let Some(process) = self.controllers[host].process.as_mut() else { return };
            for (stream, hello) in std::mem::take(&mut process.waiting) {
                self.first_frame(host, stream, hello);
            }
        }
    }

    fn begin_leading(&mut self, host: usize) {
        let (at, local) = (self.now, self.controllers[host].clock.local(self.now));
        let number = self.number();
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let now = process.leadership;
        if !now.leading || process.leading.is_some() {
            return;
        }
        let changes = process.published.subscribe();
        let state = process.published.state();
        let limits = Limits { orphan_after: self.options.orphan_after, ..Limits::default() };
        process.leading = Some(Leading {
            number,
            term: now.term,
            began: local,
            changes,
            clock: LeaderClock::new(state.now(), Duration::from_micros(local)),
            orchestrating: Orchestrating::new(limits),
            scheduling: Scheduling::default(),
            dispatch: Dispatch::new(now.term, process.sessions, Timings::default(), &state, Duration::ZERO),
            orchestrated: 0,
            scheduled: 0,
            tickets: BTreeMap::new(),
            streams: BTreeMap::new(),
            keys: BTreeMap::new(),
            changing: false,
            change_not_before: at,
            wakes: 0,
        });
        self.stats.terms += 1;
        self.checks.silence.listens(now.term, at);
        trace!(self, "controller {host} leads term {}", now.term);
        if state.cluster().is_none()
            && let Some(founding) = self.controllers[host].founding.clone()
        {
            let machine = &self.controllers[host];
            let address = Command::SetControllerAddress {
                controller: ControllerId(machine.id),
                name: machine.address.clone(),
                address: machine.address.clone(),
            };
            self.insist(host, Token::Nobody, vec![founding, address]);
        }
    }

    fn end_leading(&mut self, host: usize) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let Some(mut leading) = process.leading.take() else { return };
        process.sessions = leading.dispatch.end();
        trace!(self, "controller {host} leads no longer");
        let streams: Vec<u64> = leading.streams.values().copied().collect();
        for stream in streams {
            self.finish(host, stream, Ending::Deposed);
        }
    }

    /// Ends an agent's stream, and tells it why.
    fn finish(&mut self, host: usize, stream: u64, why: Ending) {
        let ending = match why {
            Ending::Removed => StreamEnding::Removed,
            Ending::Replaced | Ending::Silent => StreamEnding::Closed,
            Ending::Deposed => {
                let redirect = self.redirect(host);
                self.answer(stream, redirect);
                StreamEnding::Closed
            }
        };
        self.close_stream(stream, Machine::Controller(host), ending);
    }

    /// Where the leader is, as far as a controller knows.
    fn redirect(&self, host: usize) -> Message {
        let machine = &self.controllers[host];
        let known = machine.process.as_ref().and_then(|process| {
            let leader = process.leadership.leader.filter(|leader| *leader != machine.id)?;
            process.published.state().controller(ControllerId(leader)).map(|known| known.address.clone())
        });
        Message::Redirect(Redirect { leader: known.unwrap_or_default() })
    }

    fn answer(&mut self, stream: u64, message: Message) {
        let message = ControllerMessage { message: Some(message) };
        self.say(stream, Lane::Down, Frame::Message(message.encode_to_vec()));
    }

    /// Something an agent said arrives.
    pub fn controller_frame(&mut self, host: usize, stream: u64, frame: Frame) {
        match frame {
            Frame::End(_) => {
                self.stream_ended(host, stream);
                self.close_stream(stream, Machine::Controller(host), StreamEnding::Closed);
            }
            Frame::Message(bytes) => {
                let known = self.leading(host).and_then(|leading| leading.keys.get(&stream).copied());
                match known {
                    Some(key) => self.heard(host, stream, key, &bytes),
                    None => self.first_frame(host, stream, bytes),
                }
            }
        }
        self.settle(host);
    }

    fn heard(&mut self, host: usize, stream: u64, key: SessionKey, bytes: &[u8]) {
        let local = self.controllers[host].clock.local(self.now);
        let Some(leading) = self.leading(host) else { return };
        let now = leading.since(local);
        let message = AgentMessage::decode(bytes).ok().and_then(|message| message.message);
        let Some(message) = message else { return };
        let term = leading.term;
        let heard = leading.dispatch.hear(key, message, now);
        self.checks.silence.hears(term, key.node, self.now);
        if let Err(refusal) = heard {
            self.refuse(host, stream, &refusal);
        }
    }

    fn refuse(&mut self, host: usize, stream: u64, refusal: &Refusal) {
        trace!(self, "controller {host} refuses stream {stream}: {refusal}");
        self.stream_ended(host, stream);
        let why = match refusal {
            Refusal::Removed(_) => Ending::Removed,
            Refusal::Deposed | Refusal::Invalid(_) => Ending::Deposed,
        };
        self.finish(host, stream, why);
    }

    /// An agent begins to speak.
    fn first_frame(&mut self, host: usize, stream: u64, bytes: Vec<u8>) {
        let local = self.controllers[host].clock.local(self.now);
        let Some(open) = self.streams.get(&stream) else { return };
        let identity = open.identity;
        let me = self.controllers[host].id;
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let elsewhere = process.leadership.leader.is_some_and(|leader| leader != me);
        let Some(leading) = process.leading.as_mut() else {
            if elsewhere {
                return self.finish(host, stream, Ending::Deposed);
            }
            process.waiting.insert(stream, bytes);
            return self.own(host, ELECTION, ControllerEvent::SessionDue(stream));
        };
        let message = AgentMessage::decode(bytes.as_slice()).ok().and_then(|message| message.message);
        let Some(agent_message::Message::Hello(hello)) = message else {
            // What it said before this controller's leadership began anew.
            return self.finish(host, stream, Ending::Deposed);
        };
        let now = leading.since(local);
        match leading.dispatch.open(identity, hello, &process.published.state(), now) {
            Ok(key) => {
                leading.streams.insert(key, stream);
                leading.keys.insert(stream, key);
                let term = leading.term;
                self.checks.silence.hears(term, identity, self.now);
            }
            Err(refusal) => self.refuse(host, stream, &refusal),
        }
    }

    /// A session that waits for a leader has waited long enough.
    pub fn session_due(&mut self, host: usize, stream: u64) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        if process.waiting.remove(&stream).is_some() {
            self.finish(host, stream, Ending::Deposed);
        }
    }

    /// The stream of an agent is no more.
    pub fn stream_ended(&mut self, host: usize, stream: u64) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        process.waiting.remove(&stream);
        let Some(leading) = process.leading.as_mut() else { return };
        if let Some(key) = leading.keys.remove(&stream) {
            leading.streams.remove(&key);
            leading.dispatch.close(key);
        }
    }

    /// The leader's loops look at the clock.
    pub fn lead_due(&mut self, host: usize, number: u64) {
        if number == 0 {
            self.begin_leading(host);
        } else if let Some(leading) = self.leading(host).filter(|leading| leading.number == number) {
            leading.wakes = 0;
        }
    }

    /// Does what a leader has to; whether it did anything.
    pub fn lead(&mut self, host: usize) -> bool {
        let (wall, local) = (self.stamp(host), self.controllers[host].clock.local(self.now));
        let Some(process) = self.controllers[host].process.as_mut() else { return false };
        let Process { published, leading, .. } = process;
        let Some(leading) = leading.as_mut() else { return false };
        while let Some(change) = leading.changes.try_next() {
            let state = published.state();
            match change {
                Change::Everything => {
                    leading.orchestrating.observe_everything();
                    leading.scheduling.observe_everything();
                    leading.dispatch.observe_everything(&state);
                }
                Change::Batch(batch) => {
                    for event in &batch.events {
                        leading.orchestrating.observe(&state, event);
                        leading.scheduling.observe(&state, event);
                        leading.dispatch.observe(&state, event);
                    }
                }
            }
        }
        let state = published.state();
        let (number, since) = (leading.number, leading.since(local));
        let mut proposals: Vec<(Token, Vec<Command>)> = Vec::new();
        let (term, mut checked) = (leading.term, Ok(()));
        if leading.orchestrated == 0 && leading.orchestrating.is_due(wall) {
            let commands = leading.orchestrating.decide(&state, wall);
            leading.orchestrated = commands.len();
            proposals.push((Token::Orchestrating(number), commands));
        }
        if leading.scheduled == 0 && leading.scheduling.is_due() {
            let commands = leading.scheduling.decide(&state);
            leading.scheduled = commands.len();
            proposals.push((Token::Scheduling(number), commands));
        }
        let stirred = leading.dispatch.stirred();
        if stirred.propose || since >= leading.dispatch.next_deadline() {
            for proposal in leading.dispatch.proposals(&state, since) {
                for command in &proposal.commands {
                    checked = checked.and_then(|()| self.checks.silence.proposes(term, command, self.now));
                }
                self.numbers += 1;
                leading.tickets.insert(self.numbers, (proposal.ticket, proposal.commands.len()));
                proposals.push((Token::Dispatch(number, self.numbers), proposal.commands));
            }
        }
        let again = leading.dispatch.stirred();
        let mut said = Vec::new();
        for key in stirred.awake.into_iter().chain(again.awake) {
            let messages = leading.dispatch.outgoing(key, &state);
            said.extend(leading.streams.get(&key).map(|stream| (*stream, messages)));
        }
        let mut ended = Vec::new();
        for (key, why) in stirred.ended.into_iter().chain(again.ended) {
            if let Some(stream) = leading.streams.remove(&key) {
                leading.keys.remove(&stream);
                ended.push((stream, why));
            }
        }
        let acted = !proposals.is_empty();
        self.check(checked);
        for (stream, messages) in said {
            for message in messages {
                self.answer(stream, message);
            }
        }
        for (stream, why) in ended {
            self.finish(host, stream, why);
        }
        for (token, commands) in proposals {
            if commands.is_empty() {
                continue;
            }
            // Decisions take time, and the state moves on meanwhile.
            if self.rng.chance(0.2) {
                let delay = self.rng.around(20 * MILLI);
                self.own(host, delay, ControllerEvent::Insist(token, commands));
            } else {
                self.insist(host, token, commands);
            }
        }
        self.change_members(host);
        self.plan_wake(host, wall);
        acted
    }

    fn plan_wake(&mut self, host: usize, wall: Timestamp) {
        let (now, clock) = (self.now, self.controllers[host].clock);
        let Some(leading) = self.leading(host) else { return };
        let deadline = u64::try_from(leading.dispatch.next_deadline().as_micros()).unwrap_or(u64::MAX);
        let deadline = clock.real(leading.began.saturating_add(deadline));
        let orchestrators = leading.orchestrating.next_wake().filter(|_| leading.orchestrated == 0);
        let wake = orchestrators.map(|wake| now + clock.real(wake.since(wall) * MILLI));
        let members = (leading.change_not_before > now).then_some(leading.change_not_before);
        let next = wake.into_iter().chain(members).fold(deadline, Micros::min).max(now + MILLI);
        if leading.wakes <= now || next < leading.wakes {
            leading.wakes = next;
            let number = leading.number;
            self.own(host, next - now, ControllerEvent::Lead(number));
        }
    }

    /// Proposes commands of the leader's loops, in this order.
    pub fn insist(&mut self, host: usize, token: Token, commands: Vec<Command>) {
        let at = self.stamp(host);
        let current = self.leading(host).map(|leading| leading.number);
        let still = match token {
            Token::Orchestrating(number) | Token::Scheduling(number) | Token::Dispatch(number, _) => {
                current == Some(number)
            }
            _ => true,
        };
        let Some(process) = self.controllers[host].process.as_mut().filter(|_| still) else { return };
        let proposals = commands.into_iter().map(|command| {
            let envelope = Envelope { at, request: None, command };
            let outbox = process.outbox.clone();
            let bytes = encode_command(&envelope);
            let reply: wharf_controller::raft::ProposeReply<Outcome> = Box::new(move |result| {
                outbox.put(Reported::Proposed(token, Box::new(envelope.command), result));
            });
            (bytes, reply)
        });
        let proposals = proposals.collect();
        process.core.propose(proposals);
    }

    /// A command of the leader's loops has come to something.
    pub fn loop_proposed(
        &mut self,
        host: usize,
        token: Token,
        command: Box<Command>,
        result: &Result<Applied<Outcome>, ProposeError>,
    ) {
        let Some(leading) = self.leading(host) else { return };
        let mine = match token {
            Token::Orchestrating(number) | Token::Scheduling(number) | Token::Dispatch(number, _) => {
                number == leading.number
            }
            _ => false,
        };
        if !mine {
            return;
        }
        match result {
            Ok(_) => match token {
                Token::Orchestrating(_) => leading.orchestrated -= 1,
                Token::Scheduling(_) => leading.scheduled -= 1,
                Token::Dispatch(_, ticket) => {
                    let Some((kind, left)) = leading.tickets.get_mut(&ticket) else { return };
                    *left -= 1;
                    if *left == 0 {
                        let kind = *kind;
                        leading.tickets.remove(&ticket);
                        leading.dispatch.applied(kind);
                    }
                }
                _ => {}
            },
            Err(ProposeError::Overloaded) => {
                self.own(host, OVERLOAD_PAUSE, ControllerEvent::Insist(token, vec![*command]));
            }
            Err(_) => self.restart_loops(host),
        }
    }

    /// The loops have noticed, before raft says so, that this controller leads no more; or they begin anew.
    fn restart_loops(&mut self, host: usize) {
        self.end_leading(host);
        self.own(host, RESTART_PAUSE, ControllerEvent::Lead(0));
    }

    fn change_members(&mut self, host: usize) {
        let now = self.now;
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let Process { core, published, leading, status, outbox, .. } = process;
        let Some(leading) = leading.as_mut().filter(|one| !one.changing && one.change_not_before <= now)
        else {
            return;
        };
        let Some(step) = next_step(&published.state(), status) else { return };
        trace!(self, "controller {host} changes the members: {step:?}");
        leading.changing = true;
        let request = match step {
            Step::Add(controller) => {
                MembershipRequest::AddLearner { id: controller.id.0, context: controller.address.into() }
            }
            Step::Promote(id) => MembershipRequest::Promote { id: id.0 },
            Step::Demote(id) => MembershipRequest::Demote { id: id.0 },
            Step::Remove(id) => MembershipRequest::Remove { id: id.0 },
        };
        let (outbox, token) = (outbox.clone(), Token::Members(leading.number));
        core.change(request, Box::new(move |result| outbox.put(Reported::Changed(token, result))));
    }

    /// The members were changed, or not.
    pub fn members_changed(&mut self, host: usize, token: Token, result: Result<Members, ChangeError>) {
        let now = self.now;
        trace!(self, "controller {host}: members {result:?}");
        let Some(leading) = self.leading(host).filter(|leading| token == Token::Members(leading.number))
        else {
            return;
        };
        leading.changing = false;
        leading.change_not_before = now + PACE;
        if let Err(ChangeError::Propose(error)) = result
            && error != ProposeError::Overloaded
        {
            self.restart_loops(host);
        }
    }
}
