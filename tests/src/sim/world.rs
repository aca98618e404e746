//! The world of one run: every machine, what is on its way between them, and what will happen.

use super::{
    checks::{self, Check, Checked, Violation},
    client::{Client, ClientEvent},
    controller::{ControllerEvent, ControllerHost},
    faults::{Fault, Faults},
    net::{Call, Machine, Net, Packet},
    node::{NodeEvent, NodeHost},
    options::Options,
    queue::Queue,
    rng::Rng,
    stats::Stats,
    stream::{Ending, Frame, Lane, PATIENCE, RETRY, Stream, Way},
    time::{MILLI, Micros},
    trace::{Mode, Trace},
};
use std::{collections::BTreeMap, fmt};
use wharf_cluster::{
    ids::{NodeId, TaskId},
    level::Level,
};
use wharf_controller::raft::{MessageType, message};
use wharf_proto::codec::decode_command;

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// A packet arrives.
    Packet {
        /// From where.
        from: Machine,
        /// To where.
        to: Machine,
        /// What.
        packet: Packet,
    },
    /// Something said in a session arrives.
    Frame {
        /// Which session's stream.
        stream: u64,
        /// In which direction.
        lane: Lane,
        /// What.
        frame: Frame,
    },
    /// A stalled lane is tried again.
    Retry {
        /// Which stream.
        stream: u64,
        /// Which direction.
        lane: Lane,
    },
    /// Something of a controller's own, in the life that it was planned in.
    Controller {
        /// Whose.
        host: usize,
        /// In which life.
        life: u64,
        /// What.
        what: ControllerEvent,
    },
    /// Something of an agent's own, in the life that it was planned in.
    Node {
        /// Whose.
        node: usize,
        /// In which life.
        life: u64,
        /// What.
        what: NodeEvent,
    },
    /// A container ends by itself.
    Exit {
        /// On which machine.
        node: usize,
        /// Which task's.
        task: TaskId,
        /// Which of its runs.
        run: u64,
        /// How.
        code: i32,
    },
    /// Something of a client's own.
    Client {
        /// Whose.
        client: usize,
        /// What.
        what: ClientEvent,
    },
    /// A fault begins or ends.
    Fault(Fault),
    /// The next fault is due.
    NextFault,
    /// Nothing; time passes.
    Pass,
}

/// What is watched.
#[derive(Default)]
pub struct Checks {
    /// The one history.
    pub reference: checks::Reference,
    /// Clients.
    pub calls: checks::Calls,
    /// Tasks in the state.
    pub tasks: checks::Tasks,
    /// Containers and agents.
    pub agents: checks::Agents,
    /// Verdicts on nodes.
    pub silence: checks::Silence,
}

/// The world.
pub struct World {
    /// How this run is to be.
    pub options: Options,
    /// The time, which nobody in the world can read.
    pub now: Micros,
    /// How many events have happened.
    pub steps: u64,
    /// Chance.
    pub rng: Rng,
    /// What will happen.
    pub queue: Queue<Event>,
    /// What happened.
    pub trace: Trace,
    /// The network.
    pub net: Net,
    /// Sessions on the network.
    pub streams: BTreeMap<u64, Stream>,
    /// Machines with controllers.
    pub controllers: Vec<ControllerHost>,
    /// Machines with agents.
    pub nodes: Vec<NodeHost>,
    /// Clients.
    pub clients: Vec<Client>,
    /// Faults under way.
    pub faults: Faults,
    /// What is watched.
    pub checks: Checks,
    /// What is counted.
    pub stats: Stats,
    /// The first thing that was found broken.
    pub violation: Option<Violation>,
    /// How many numbers were given.
    pub numbers: u64,
}

macro_rules! trace {
    ($world:expr, $($what:tt)*) => {
        $world.trace.line($world.now, $world.steps, format_args!($($what)*))
    };
}
pub(super) use trace;

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, options: Options, mode: Mode) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::choose(&mut rng, &options);
        let net = Net::new(faults.weather);
        World {
            options,
            now: 0,
            steps: 0,
            rng,
            queue: Queue::default(),
            trace: Trace::new(mode),
            net,
            streams: BTreeMap::new(),
            controllers: Vec::new(),
            nodes: Vec::new(),
            clients: Vec::new(),
            faults,
            checks: Checks::default(),
            stats: Stats::default(),
            violation: None,
            numbers: 0,
        }
    }

    /// A number that was never given before.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Keeps the first thing that a check found.
    pub fn check(&mut self, checked: Checked) {
        if let Err(violation) = checked
            && self.violation.is_none()
        {
            trace!(self, "VIOLATION: {}: {}", violation.check, violation.what);
            self.violation = Some(violation);
        }
    }

    /// Something is broken.
    pub fn violate(&mut self, check: Check, what: String) {
        self.check(Err(Violation { check, what }));
    }

    /// Plans an event.
    pub fn after(&mut self, delay: Micros, event: Event) {
        self.queue.plan(self.now + delay, event);
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        self.now = at;
        self.steps += 1;
        if let Some(event) = self.defer(event) {
            self.happen(event);
        }
    }

    /// Runs until `until`, or until something is broken.
    pub fn run_until(&mut self, until: Micros) {
        self.queue.plan(until, Event::Pass);
        while self.now < until && self.violation.is_none() {
            self.step();
        }
    }

    /// Puts an event aside if its machine stands still.
    fn defer(&mut self, event: Event) -> Option<Event> {
        let machine = match &event {
            Event::Packet { to, .. } => *to,
            Event::Frame { stream, lane, .. } => self.end_of(*stream, *lane)?,
            Event::Controller { host, .. } => Machine::Controller(*host),
            Event::Node { node, .. } => Machine::Node(*node),
            _ => return Some(event),
        };
        match self.paused(machine) {
            Some(aside) => {
                aside.push(event);
                None
            }
            None => Some(event),
        }
    }

    /// Where a lane leads; `None` if the stream is gone.
    fn end_of(&self, stream: u64, lane: Lane) -> Option<Machine> {
        let stream = self.streams.get(&stream)?;
        Some(match lane {
            Lane::Up => Machine::Controller(stream.controller),
            Lane::Down => Machine::Node(stream.node),
        })
    }

    /// What was put aside for a machine that stands still; `None` if it doesn't.
    pub fn paused(&mut self, machine: Machine) -> Option<&mut Vec<Event>> {
        match machine {
            Machine::Controller(host) => self.controllers[host].paused.as_mut(),
            Machine::Node(node) => self.nodes[node].paused.as_mut(),
            Machine::Client(_) => None,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { from, to, packet } => self.arrive(from, to, packet),
            Event::Frame { stream, lane, frame } => self.frame(stream, lane, frame),
            Event::Retry { stream, lane } => self.retry(stream, lane),
            Event::Controller { host, life, what } => {
                if self.controllers[host].life == life {
                    self.controller_event(host, what);
                }
            }
            Event::Node { node, life, what } => {
                if self.nodes[node].life == life {
                    self.node_event(node, what);
                }
            }
            Event::Exit { node, task, run, code } => self.container_exits(node, task, run, code),
            Event::Client { client, what } => self.client_event(client, what),
            Event::Fault(fault) => self.fault(fault),
            Event::NextFault => self.next_fault(),
            Event::Pass => {}
        }
    }

    /// Sends a packet.
    pub fn send(&mut self, from: Machine, to: Machine, packet: Packet) {
        let mut arrivals = self.net.arrivals(&mut self.rng, self.now, from, to);
        let Some(last) = arrivals.pop() else {
            trace!(self, "{from:?} -> {to:?} lost: {}", Words(&packet));
            return;
        };
        for at in arrivals {
            self.queue.plan(at, Event::Packet { from, to, packet: packet.clone() });
        }
        self.queue.plan(last, Event::Packet { from, to, packet });
    }

    fn arrive(&mut self, from: Machine, to: Machine, packet: Packet) {
        if self.net.is_cut(from, to) {
            self.net.lost += 1;
            trace!(self, "{from:?} -> {to:?} cut: {}", Words(&packet));
            return;
        }
        if self.trace.is_on() && !is_heartbeat(&packet) {
            trace!(self, "{from:?} -> {to:?}: {}", Words(&packet));
        }
        match to {
            Machine::Controller(host) => self.controller_packet(host, from, packet),
            Machine::Client(client) => self.client_packet(client, packet),
            Machine::Node(_) => {}
        }
    }

    /// Opens a stream from an agent to a controller.
    pub fn open_stream(&mut self, node: usize, controller: usize) -> u64 {
        let number = self.number();
        let stream = Stream {
            node,
            identity: self.nodes[node].id.unwrap_or(NodeId(0)),
            controller,
            node_life: self.nodes[node].life,
            controller_life: None,
            node_open: true,
            controller_open: true,
            up: Way::default(),
            down: Way::default(),
            patience: self.rng.within(PATIENCE),
        };
        self.streams.insert(number, stream);
        number
    }

    /// Says something in a session.
    pub fn say(&mut self, number: u64, lane: Lane, frame: Frame) {
        let delay = self.net.delay(&mut self.rng);
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let way = stream.way(lane);
        way.latest = way.latest.max(self.now + delay);
        let at = way.latest;
        self.queue.plan(at, Event::Frame { stream: number, lane, frame });
    }

    fn frame(&mut self, number: u64, lane: Lane, frame: Frame) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let (up, down) = (Machine::Controller(stream.controller), Machine::Node(stream.node));
        let (from, to) = if lane == Lane::Up { (down, up) } else { (up, down) };
        let cut = self.net.is_cut(from, to);
        let now = self.now;
        let way = stream.way(lane);
        if cut || !way.stalled.is_empty() {
            if way.stalled.is_empty() {
                way.since = now;
                self.queue.plan(now + RETRY, Event::Retry { stream: number, lane });
            }
            way.stalled.push_back(frame);
            return;
        }
        self.deliver(number, lane, frame);
    }

    fn retry(&mut self, number: u64, lane: Lane) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let (up, down) = (Machine::Controller(stream.controller), Machine::Node(stream.node));
        let (from, to) = if lane == Lane::Up { (down, up) } else { (up, down) };
        let patience = stream.patience;
        let way = stream.way(lane);
        if !self.net.is_cut(from, to) {
            let stalled = std::mem::take(&mut way.stalled);
            for frame in stalled {
                self.queue.plan(self.now, Event::Frame { stream: number, lane, frame });
            }
        } else if self.now >= way.since + patience {
            trace!(self, "stream {number} breaks");
            self.break_stream(number);
        } else {
            self.queue.plan(self.now + RETRY, Event::Retry { stream: number, lane });
        }
    }

    /// Both ends notice by themselves that the connection is no more.
    pub fn break_stream(&mut self, number: u64) {
        let Some(stream) = self.streams.remove(&number) else { return };
        let (host, node) = (stream.controller, stream.node);
        let (life, node_life) = (stream.controller_life, stream.node_life);
        if let Some(life) = life.filter(|_| stream.controller_open) {
            let at = self.now + self.rng.around(500 * MILLI);
            let what = ControllerEvent::StreamEnded(number);
            self.queue.plan(at, Event::Controller { host, life, what });
        }
        if stream.node_open {
            let at = self.now + self.rng.around(500 * MILLI);
            let what = NodeEvent::StreamEnded { stream: number, ending: Ending::Broken };
            self.queue.plan(at, Event::Node { node, life: node_life, what });
        }
    }

    fn deliver(&mut self, number: u64, lane: Lane, frame: Frame) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let (host, node) = (stream.controller, stream.node);
        match lane {
            Lane::Up => {
                let runs = self.controllers[host].process.is_some();
                let life = self.controllers[host].life;
                let mine = *stream.controller_life.get_or_insert(life) == life;
                if runs && mine && stream.controller_open {
                    self.controller_frame(host, number, frame);
                } else {
                    // Nobody listens there: the sender is told so.
                    self.break_stream(number);
                }
            }
            Lane::Down => {
                let mine = self.nodes[node].life == stream.node_life && self.nodes[node].agent.is_some();
                if mine && stream.node_open {
                    self.node_frame(node, number, frame);
                } else {
                    self.break_stream(number);
                }
            }
        }
    }

    /// One end says its last and listens no more.
    pub fn close_stream(&mut self, number: u64, end: Machine, ending: Ending) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let lane = match end {
            Machine::Controller(_) => {
                stream.controller_open = false;
                Lane::Down
            }
            _ => {
                stream.node_open = false;
                Lane::Up
            }
        };
        if stream.controller_open || stream.node_open {
            self.say(number, lane, Frame::End(ending));
        } else {
            self.streams.remove(&number);
        }
    }
}

/// Whether nobody wants to read of it: raft's heartbeats are more than everything else.
fn is_heartbeat(packet: &Packet) -> bool {
    let Packet::Raft(bytes) = packet else { return false };
    let kind = message::decode(bytes).map(|message| message.get_msg_type());
    matches!(kind, Ok(MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse))
}

/// A packet in a few words, made only if somebody reads them.
struct Words<'a>(&'a Packet);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Packet::Raft(bytes) => match message::decode(bytes) {
                Ok(message) => write!(
                    f,
                    "{:?} term {} index {} commit {} entries {}{}",
                    message.get_msg_type(),
                    message.term,
                    message.index,
                    message.commit,
                    message.entries.len(),
                    if message.reject { " rejected" } else { "" }
                ),
                Err(error) => write!(f, "{error}"),
            },
            Packet::Chunk { transfer, bytes } => write!(f, "snapshot {transfer}, {} bytes", bytes.len()),
            Packet::ChunkTaken { transfer, ok } => write!(f, "snapshot {transfer} taken: {ok}"),
            Packet::Call { number, forwarded, call } => {
                write!(f, "call {number}{}: ", if *forwarded { ", passed on" } else { "" })?;
                match call {
                    Call::Write(bytes) => match decode_command(bytes, Level::NEWEST) {
                        Ok(envelope) => write!(f, "{:?} {:?}", envelope.request, envelope.command),
                        Err(error) => write!(f, "{error}"),
                    },
                    other => write!(f, "{other:?}"),
                }
            }
            Packet::Answer { number, answer } => write!(f, "answer {number}: {answer:?}"),
        }
    }
}
