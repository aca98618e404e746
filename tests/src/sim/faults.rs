//! What goes wrong: which kinds do is drawn from the seed, so that rare mixtures are met too.

use super::{
    controller::ControllerEvent,
    load::Wish,
    net::{Machine, Weather},
    node::NodeEvent,
    options::Options,
    rng::Rng,
    time::{MILLI, Micros, SECOND},
    world::{Event, World, trace},
};
use wharf_cluster::{command::Command, ids::ControllerId, model::NodeState};

/// A fault that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CrashController,
    CrashLeader,
    PauseController,
    SlowDisk,
    Partition,
    OneWay,
    CutLeader,
    CutNode,
    CrashAgent,
    Reboot,
    PauseNode,
    Storm,
    ClockJump,
    Container,
    Transfer,
    RemoveController,
    AddController,
    RemoveNode,
    AllControllers,
    CrashVoters,
}

const KINDS: [Kind; 20] = [
    Kind::CrashController,
    Kind::CrashLeader,
    Kind::PauseController,
    Kind::SlowDisk,
    Kind::Partition,
    Kind::OneWay,
    Kind::CutLeader,
    Kind::CutNode,
    Kind::CrashAgent,
    Kind::Reboot,
    Kind::PauseNode,
    Kind::Storm,
    Kind::ClockJump,
    Kind::Container,
    Kind::Transfer,
    Kind::RemoveController,
    Kind::AddController,
    Kind::RemoveNode,
    Kind::AllControllers,
    Kind::CrashVoters,
];

/// The end of a fault.
#[derive(Debug)]
pub enum Fault {
    /// Ways are open again.
    Mend(Vec<(Machine, Machine)>),
    /// A machine goes on.
    Resume(Machine),
    /// A disk is as fast as it was.
    Disk(usize),
    /// The network is as it was.
    Weather,
    /// Controllers that have voted go on.
    Voters,
}

/// What can go wrong in this run.
#[derive(Debug)]
pub struct Faults {
    kinds: Vec<Kind>,
    /// The network as it usually is.
    pub weather: Weather,
    /// Controllers crash when they have voted, and come back at once: the moment at which a lost vote would count.
    pub voters_crash: bool,
    /// No more faults.
    pub over: bool,
}

/// The most machines with controllers that a run has.
const MOST_CONTROLLERS: usize = 8;

impl Faults {
    /// What can go wrong in the run with these numbers.
    #[must_use]
    pub fn choose(rng: &mut Rng, _options: &Options) -> Self {
        let share = rng.pick(&[0.2, 0.5, 0.9]).copied().unwrap_or(0.5);
        let kinds = KINDS.into_iter().filter(|_| rng.chance(share)).collect();
        let weather = Weather {
            delay: rng.pick(&[300, 1_000, 10_000]).copied().unwrap_or(1_000),
            spikes: rng.pick(&[0.0, 0.001, 0.02]).copied().unwrap_or(0.0),
            spike: rng.within(20..=1_500) * MILLI,
            loss: rng.pick(&[0.0, 0.0, 0.005, 0.05]).copied().unwrap_or(0.0),
            twice: rng.pick(&[0.0, 0.0, 0.02]).copied().unwrap_or(0.0),
            reorder: rng.chance(0.3),
        };
        Faults { kinds, weather, voters_crash: false, over: false }
    }
}

impl World {
    /// A fault, if there are still faults, and when the next one is due.
    pub fn next_fault(&mut self) {
        if self.faults.over {
            return;
        }
        if let Some(kind) = self.rng.pick(&self.faults.kinds.clone()).copied() {
            self.begin(kind);
        }
        let pause = self.rng.around(self.options.calm);
        self.after(pause, Event::NextFault);
    }

    /// A fault ends.
    pub fn fault(&mut self, end: Fault) {
        match end {
            Fault::Mend(cuts) => {
                trace!(self, "fault ends: {} ways are open again, {:?} first", cuts.len(), cuts.first());
                cuts.into_iter().for_each(|(from, to)| self.net.mend(from, to));
            }
            Fault::Resume(machine) => self.resume(machine),
            Fault::Disk(host) => self.controllers[host].disk_delay = self.options.disk_delay,
            Fault::Weather => self.net.weather = self.faults.weather,
            Fault::Voters => self.faults.voters_crash = false,
        }
    }

    /// A machine that stood still goes on with all that came meanwhile.
    pub fn resume(&mut self, machine: Machine) {
        let aside = match machine {
            Machine::Controller(host) => self.controllers[host].paused.take(),
            Machine::Node(node) => self.nodes[node].paused.take(),
            Machine::Client(_) => None,
        };
        for event in aside.into_iter().flatten() {
            self.queue.plan(self.now, event);
        }
    }

    fn some_host(&mut self) -> usize {
        let living: Vec<usize> = (0..self.controllers.len())
            .filter(|host| !self.controllers[*host].retired && self.controllers[*host].id != 0)
            .collect();
        self.rng.pick(&living).copied().unwrap_or(0)
    }

    /// The controller that leads the newest term.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leads = |host: &usize| {
            let process = self.controllers[*host].process.as_ref()?;
            process.leadership.leading.then_some(process.leadership.term)
        };
        (0..self.controllers.len()).filter(|host| leads(host).is_some()).max_by_key(leads)
    }

    fn lasting(&mut self) -> Micros {
        let mean = if self.rng.chance(0.8) { 2 * SECOND } else { 12 * SECOND };
        self.rng.around(mean)
    }

    fn begin(&mut self, kind: Kind) {
        trace!(self, "fault: {kind:?}");
        match kind {
            Kind::CrashController => {
                let host = self.some_host();
                self.crash_controller(host, "controller crashed");
            }
            Kind::CrashLeader => {
                if let Some(host) = self.leader() {
                    self.crash_controller(host, "leader crashed");
                }
            }
            Kind::CrashVoters => {
                self.faults.voters_crash = true;
                self.after(6 * SECOND, Event::Fault(Fault::Voters));
                if let Some(host) = self.leader() {
                    self.crash_controller(host, "leader crashed");
                }
            }
            Kind::AllControllers => {
                for host in 0..self.controllers.len() {
                    self.crash_controller(host, "all controllers crashed");
                }
            }
            Kind::PauseController => {
                let host = if self.rng.chance(0.5) { self.leader().unwrap_or(0) } else { self.some_host() };
                self.pause(Machine::Controller(host), "controller paused");
            }
            Kind::PauseNode => {
                let node = self.rng.index(self.nodes.len());
                self.pause(Machine::Node(node), "agent paused");
            }
            Kind::SlowDisk => {
                let host = self.some_host();
                self.stats.fault("slow disk");
                self.controllers[host].disk_delay = self.rng.within(50..=1_500) * MILLI;
                let lasting = self.lasting();
                self.after(lasting, Event::Fault(Fault::Disk(host)));
            }
            Kind::Partition => self.partition(),
            Kind::OneWay => {
                let (from, to) = (self.some_host(), self.some_host());
                self.cut(vec![(Machine::Controller(from), Machine::Controller(to))], "one way cut");
            }
            Kind::CutLeader => {
                let host = self.leader().unwrap_or(0);
                if self.rng.chance(0.5) {
                    return self.cut_from_peers(host);
                }
                let (out, back) = (self.rng.chance(0.7), self.rng.chance(0.7));
                self.isolate(Machine::Controller(host), out, back || !out, "leader cut off");
            }
            Kind::CutNode => {
                let node = self.rng.index(self.nodes.len());
                let (out, back) = (self.rng.chance(0.7), self.rng.chance(0.7));
                self.isolate(Machine::Node(node), out, back || !out, "node cut off");
            }
            Kind::CrashAgent => {
                let node = self.rng.index(self.nodes.len());
                self.crash_agent(node);
            }
            Kind::Reboot => {
                let node = self.rng.index(self.nodes.len());
                self.stats.fault("node rebooted");
                self.reboot(node);
                let after = self.lasting();
                self.at_node(node, after, NodeEvent::Start);
            }
            Kind::Storm => {
                self.stats.fault("network storm");
                self.net.weather = Weather {
                    loss: 0.3,
                    spikes: 0.2,
                    spike: 400 * MILLI,
                    twice: 0.05,
                    ..self.faults.weather
                };
                let lasting = self.lasting();
                self.after(lasting, Event::Fault(Fault::Weather));
            }
            Kind::ClockJump => {
                let host = self.some_host();
                self.stats.fault("clock set");
                self.controllers[host].clock.offset = self.rng.signed(-self.options.skew..=self.options.skew);
            }
            Kind::Container => self.kill_container(),
            Kind::Transfer => {
                self.stats.fault("leader transferred");
                let id = self.controllers[self.some_host_or_first()].id;
                self.errand(Wish::Transfer(id));
            }
            Kind::RemoveController => self.remove_controller(),
            Kind::AddController => self.add_controller(),
            Kind::RemoveNode => self.remove_node(),
        }
    }

    fn some_host_or_first(&self) -> usize {
        usize::from(self.controllers.len() > 1)
    }

    fn crash_controller(&mut self, host: usize, kind: &'static str) {
        if self.controllers[host].process.is_none() {
            return;
        }
        self.stats.fault(kind);
        self.stop_controller(host);
        let after = self.lasting();
        self.own(host, after, ControllerEvent::Start);
    }

    /// A controller has voted, and that is on its disk.
    pub fn voted(&mut self, host: usize) {
        if self.faults.voters_crash && self.rng.chance(0.5) {
            self.stats.fault("voter crashed");
            self.stop_controller(host);
            let after = self.rng.around(15 * MILLI);
            self.own(host, after, ControllerEvent::Start);
        }
    }

    fn crash_agent(&mut self, node: usize) {
        if self.nodes[node].agent.is_none() {
            return;
        }
        self.stats.fault("agent crashed");
        self.stop_agent(node);
        let after = self.lasting();
        self.at_node(node, after, NodeEvent::Start);
    }

    fn pause(&mut self, machine: Machine, kind: &'static str) {
        let paused = match machine {
            Machine::Controller(host) => &mut self.controllers[host].paused,
            Machine::Node(node) => &mut self.nodes[node].paused,
            Machine::Client(_) => return,
        };
        if paused.is_none() {
            *paused = Some(Vec::new());
            self.stats.fault(kind);
            let lasting = self.lasting();
            self.after(lasting, Event::Fault(Fault::Resume(machine)));
        }
    }

    fn machines(&self) -> Vec<Machine> {
        let controllers = (0..self.controllers.len()).map(Machine::Controller);
        let nodes = (0..self.nodes.len()).map(Machine::Node);
        let clients = (0..self.clients.len()).map(Machine::Client);
        controllers.chain(nodes).chain(clients).collect()
    }

    fn cut(&mut self, cuts: Vec<(Machine, Machine)>, kind: &'static str) {
        let cuts: Vec<_> = cuts.into_iter().filter(|(from, to)| from != to).collect();
        if cuts.is_empty() {
            return;
        }
        self.stats.fault(kind);
        trace!(self, "{kind}: {} ways are cut, {:?} first", cuts.len(), cuts.first());
        cuts.iter().for_each(|(from, to)| self.net.cut(*from, *to));
        let lasting = self.lasting();
        self.after(lasting, Event::Fault(Fault::Mend(cuts)));
    }

    fn isolate(&mut self, machine: Machine, out: bool, back: bool, kind: &'static str) {
        let mut cuts = Vec::new();
        for other in self.machines() {
            if out {
                cuts.push((machine, other));
            }
            if back {
                cuts.push((other, machine));
            }
        }
        self.cut(cuts, kind);
    }

    /// A controller is cut off from the others, while agents and clients still reach it.
    fn cut_from_peers(&mut self, host: usize) {
        let me = Machine::Controller(host);
        let peers = (0..self.controllers.len()).map(Machine::Controller);
        let cuts = peers.flat_map(|peer| [(me, peer), (peer, me)]).collect();
        self.cut(cuts, "leader cut off from its peers");
    }

    fn partition(&mut self) {
        let machines = self.machines();
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for machine in machines {
            if self.rng.chance(0.5) { here.push(machine) } else { there.push(machine) }
        }
        let mut cuts = Vec::new();
        for one in &here {
            for other in &there {
                cuts.extend([(*one, *other), (*other, *one)]);
            }
        }
        self.cut(cuts, "partition");
    }

    fn kill_container(&mut self) {
        let running: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(node, machine)| {
                let of = move |task| (node, task, machine.containers[&task].run);
                machine.running().map(of)
            })
            .collect();
        if let Some((node, task, run)) = self.rng.pick(&running).copied() {
            self.stats.fault("container died");
            self.container_exits(node, task, run, 1);
        }
    }

    fn remove_controller(&mut self) {
        let Some(state) = self.checks.reference.newest() else { return };
        let known: Vec<u64> = state.controllers().map(|controller| controller.id.0).collect();
        if let Some(id) = self.rng.pick(&known).copied() {
            self.stats.fault("controller removed");
            self.errand(Wish::RemoveController(ControllerId(id)));
        }
    }

    fn add_controller(&mut self) {
        let members = self.checks.reference.newest().map_or(0, |state| state.controllers().count());
        if self.controllers.len() < MOST_CONTROLLERS && members < 5 {
            self.stats.fault("controller added");
            let host = self.new_controller();
            self.errand(Wish::JoinController(host));
        }
    }

    fn remove_node(&mut self) {
        let Some(state) = self.checks.reference.newest() else { return };
        let nodes: Vec<_> = state.nodes().map(|node| (node.id, node.status.state)).collect();
        if nodes.len() < 3 {
            return;
        }
        if let Some((node, state)) = self.rng.pick(&nodes).copied() {
            self.stats.fault(if state == NodeState::Ready {
                "ready node removed"
            } else {
                "lost node removed"
            });
            self.errand(Wish::Command(Command::RemoveNode { node, force: true }));
        }
    }

    /// Faults stop: what was stopped starts, what was cut is whole.
    pub fn heal(&mut self) {
        trace!(self, "the faults stop");
        self.faults.over = true;
        self.faults.weather = Weather::FAIR;
        self.net.weather = Weather::FAIR;
        self.net.mend_all();
        self.options.failing = false;
        self.faults.voters_crash = false;
        for host in 0..self.controllers.len() {
            self.controllers[host].disk_delay = self.options.disk_delay;
            self.resume(Machine::Controller(host));
            if self.controllers[host].id != 0 {
                self.start_controller(host);
            }
        }
        for node in 0..self.nodes.len() {
            self.resume(Machine::Node(node));
            self.start_agent(node);
            self.point_out_controllers(node);
        }
    }

    /// An agent that was cut off while every controller it knew was replaced doesn't find the others by itself: people
    /// start it again with their addresses.
    fn point_out_controllers(&mut self, node: usize) {
        let addresses: Vec<String> = self.controllers.iter().map(|host| host.address.clone()).collect();
        if let Some(agent) = self.nodes[node].agent.as_mut() {
            for address in addresses {
                if !agent.addresses.contains(&address) {
                    agent.addresses.push_back(address);
                }
            }
        }
    }
}
