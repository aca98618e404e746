//! Clients: each wants one thing after the other, and asks the controllers in turn, with the same request id, until it is
//! told what came of it or loses patience.

use super::{
    checks::Check,
    load::Wish,
    net::{Answer, Call, Machine, Packet},
    time::{MILLI, Micros, SECOND},
    world::{Event, World, trace},
};
use std::collections::VecDeque;
use wharf_cluster::{
    command::{Command, Envelope},
    ids::{RequestId, Timestamp},
    state::Reply,
};
use wharf_proto::codec::encode_command;

/// How long a client waits for one answer.
const ANSWER: Micros = 8 * SECOND;
/// After how long it gives a wish up.
const PATIENCE: Micros = 60 * SECOND;
/// Pause before it asks again.
const PAUSE: Micros = 100 * MILLI;

/// Something of a client's own.
#[derive(Clone, Copy, Debug)]
pub enum ClientEvent {
    /// It wants something.
    Think,
    /// An answer did not come in time.
    Late(u64),
    /// It asks again.
    Again,
}

/// What a client is at.
#[derive(Debug)]
struct Asking {
    wish: Wish,
    request: RequestId,
    call: Call,
    /// Of the present attempt.
    number: u64,
    begun: Micros,
    /// The last index that anybody had been told of when it began.
    floor: u64,
    pause: Micros,
}

/// A client.
#[derive(Debug, Default)]
pub struct Client {
    /// Runs the cluster: does what is asked of it, never gives up, and has no wishes of its own.
    pub runs_cluster: bool,
    /// What it has to do.
    pub errands: VecDeque<Wish>,
    /// The controller that it asks.
    target: usize,
    asking: Option<Asking>,
}

impl Client {
    /// The client that runs the cluster.
    #[must_use]
    pub fn running_the_cluster() -> Self {
        Client { runs_cluster: true, ..Client::default() }
    }

    /// Whether it wants nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asking.is_none() && self.errands.is_empty()
    }
}

impl World {
    /// Has the client that runs the cluster do something.
    pub fn errand(&mut self, wish: Wish) {
        self.clients[0].errands.push_back(wish);
        self.after(0, Event::Client { client: 0, what: ClientEvent::Think });
    }

    /// Something of its own happens at a client.
    pub fn client_event(&mut self, client: usize, what: ClientEvent) {
        match what {
            ClientEvent::Think => self.think(client),
            ClientEvent::Late(number) => {
                if self.clients[client].asking.as_ref().is_some_and(|asking| asking.number == number) {
                    self.ask_elsewhere(client);
                }
            }
            ClientEvent::Again => self.ask(client),
        }
    }

    fn think(&mut self, client: usize) {
        if self.clients[client].asking.is_some() {
            return;
        }
        let wish = match self.clients[client].errands.pop_front() {
            Some(wish) => wish,
            None if self.clients[client].runs_cluster || self.faults.over => return,
            None => self.wish(),
        };
        let request = RequestId(self.rng.name());
        let call = match &wish {
            Wish::Read(stack) => Call::Read(stack.clone()),
            Wish::Transfer(id) => Call::Transfer(*id),
            other => {
                let Some(command) = self.command(other) else { return self.rest(client) };
                let envelope = Envelope { at: Timestamp(0), request: Some(request), command };
                Call::Write(encode_command(&envelope).into())
            }
        };
        let (begun, floor) = (self.now, self.checks.calls.floor());
        self.clients[client].asking =
            Some(Asking { wish, request, call, number: 0, begun, floor, pause: PAUSE });
        self.ask(client);
    }

    fn rest(&mut self, client: usize) {
        let pause = self.rng.around(self.options.think);
        self.after(pause, Event::Client { client, what: ClientEvent::Think });
    }

    fn ask(&mut self, client: usize) {
        let number = self.number();
        let hosts = self.controllers.len();
        let target = self.clients[client].target % hosts;
        let Some(asking) = self.clients[client].asking.as_mut() else { return };
        asking.number = number;
        let packet = Packet::Call { number, forwarded: false, call: asking.call.clone() };
        self.after(ANSWER, Event::Client { client, what: ClientEvent::Late(number) });
        if self.controllers[target].process.is_some() {
            self.send(Machine::Client(client), Machine::Controller(target), packet);
        } else {
            // Refused: it knows at once.
            self.ask_elsewhere(client);
        }
    }

    fn ask_elsewhere(&mut self, client: usize) {
        let hosts = self.controllers.len();
        self.clients[client].target = self.rng.index(hosts);
        let runs_cluster = self.clients[client].runs_cluster;
        let Some(asking) = self.clients[client].asking.as_mut() else { return };
        // An answer to the attempt before comes too late.
        asking.number = 0;
        let pause = asking.pause;
        asking.pause = (pause * 2).min(2 * SECOND);
        if !runs_cluster && self.now >= asking.begun + PATIENCE {
            trace!(self, "client {client} gives {:?} up", asking.request);
            self.clients[client].asking = None;
            return self.rest(client);
        }
        self.after(pause, Event::Client { client, what: ClientEvent::Again });
    }

    /// A controller answers.
    pub fn client_packet(&mut self, client: usize, packet: Packet) {
        let Packet::Answer { number, answer } = packet else { return };
        let Some(asking) = self.clients[client].asking.as_ref() else { return };
        if asking.number != number {
            return;
        }
        let (request, floor) = (asking.request, asking.floor);
        match answer {
            Answer::Unavailable | Answer::Overloaded if matches!(asking.call, Call::Transfer(_)) => {}
            Answer::Unavailable | Answer::Overloaded => return self.ask_elsewhere(client),
            Answer::Value { index, version } => {
                if let Call::Read(stack) = &asking.call {
                    let (reference, calls) = (&self.checks.reference, &mut self.checks.calls);
                    let checked = calls.read(reference, floor, stack, index, version);
                    self.check(checked);
                }
            }
            Answer::Done { index, reply } => {
                let (reference, calls) = (&mut self.checks.reference, &mut self.checks.calls);
                let checked = calls.done(reference, request, index, reply);
                self.check(checked);
                self.granted(client, reply);
            }
            Answer::Rejected(why) => {
                let checked = self.checks.calls.refused(&self.checks.reference, request, &why);
                self.check(checked);
            }
        }
        self.clients[client].asking = None;
        self.rest(client);
    }

    /// A wish was granted: a machine that joined may begin.
    fn granted(&mut self, client: usize, reply: Reply) {
        let Some(asking) = self.clients[client].asking.as_ref() else { return };
        match (&asking.wish, reply) {
            (Wish::JoinController(host), Reply::Controller(id)) => {
                let host = *host;
                self.found_controller(host, id.0);
            }
            (Wish::JoinNode(node), Reply::Node(id)) => {
                let node = *node;
                self.nodes[node].id = Some(id);
                self.start_agent(node);
            }
            _ => {}
        }
    }

    fn found_controller(&mut self, host: usize, id: u64) {
        self.controllers[host].id = id;
        if let Err(error) = wharf_controller::raft::join(&*self.controllers[host].disk, id) {
            return self.violate(Check::ReplicaStopped, format!("machine {host} can't join: {error}"));
        }
        self.start_controller(host);
    }

    /// The command of a wish; none if it makes no sense any more.
    fn command(&self, wish: &Wish) -> Option<Command> {
        Some(match wish {
            Wish::Command(command) => command.clone(),
            Wish::RemoveController(controller) => {
                let known = self.checks.reference.newest()?.controllers();
                if known.count() < 3 {
                    return None;
                }
                Command::RemoveController { controller: *controller }
            }
            Wish::JoinController(host) => {
                let host = self.controllers.get(*host)?;
                Command::AddController {
                    name: host.address.clone(),
                    address: host.address.clone(),
                    level: wharf_cluster::level::Level::NEWEST,
                }
            }
            Wish::JoinNode(node) => {
                let node = self.nodes.get(*node).filter(|node| node.id.is_none())?;
                Command::RegisterNode { description: node.description.clone() }
            }
            Wish::Read(_) | Wish::Transfer(_) => return None,
        })
    }
}
