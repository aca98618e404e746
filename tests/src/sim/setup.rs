//! Makes the machines of a run, and joins them.

use super::{
    agent_disk::AgentDisk,
    checks::Check,
    client::{Client, ClientEvent},
    controller::ControllerHost,
    disk::Disk,
    load::Wish,
    node::NodeHost,
    time::{Clock, SECOND},
    world::{Event, World, trace},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wharf_cluster::{
    command::Command,
    model::{NodeDescription, Platform},
};
use wharf_controller::raft::bootstrap;

/// The first controller's id.
const FIRST: u64 = 1;

impl World {
    /// Makes the machines, and has them join one after the other.
    pub fn set_up(&mut self) {
        self.clients.push(Client::running_the_cluster());
        for client in 1..=self.options.clients {
            self.clients.push(Client::default());
            let first = 3 * SECOND + self.rng.around(self.options.think);
            self.after(first, Event::Client { client, what: ClientEvent::Think });
        }
        for host in 0..self.options.controllers {
            self.new_controller();
            if host > 0 {
                self.errand(Wish::JoinController(host));
            }
        }
        for node in 0..self.options.nodes {
            self.new_node();
            self.errand(Wish::JoinNode(node));
        }
        let first = &mut self.controllers[0];
        first.id = FIRST;
        first.founding = Some(Command::InitCluster {
            id: "simulated".to_owned(),
            ca_cert: "a certificate".to_owned(),
            ca_key: "a key".to_owned(),
            tokens: BTreeMap::new(),
        });
        if let Err(error) = bootstrap(&*first.disk, FIRST, first.address.as_bytes()) {
            self.violate(Check::ReplicaStopped, error.to_string());
        }
        self.start_controller(0);
        let first_fault = 2 * SECOND + self.rng.around(6 * SECOND);
        self.after(first_fault, Event::NextFault);
    }

    fn clock(&mut self) -> Clock {
        let skew = self.options.skew;
        Clock { offset: self.rng.signed(-skew..=skew), drift: self.rng.signed(-20_000..=20_000) }
    }

    /// A machine for a controller that is to join.
    pub fn new_controller(&mut self) -> usize {
        let host = self.controllers.len();
        let clock = self.clock();
        self.controllers.push(ControllerHost {
            id: 0,
            address: format!("controller-{host}:7400"),
            disk: Arc::new(Disk::default()),
            clock,
            life: 0,
            process: None,
            paused: None,
            disk_delay: self.options.disk_delay,
            retired: false,
            founding: None,
        });
        host
    }

    fn new_node(&mut self) {
        let node = self.nodes.len();
        let clock = self.clock();
        let memory = self.rng.pick(&[500, 1_000, 2_000]).copied().unwrap_or(1_000);
        let description = NodeDescription {
            hostname: format!("node-{node}"),
            platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() },
            nano_cpus: 4_000_000_000,
            memory,
            runtimes: vec!["wharf".to_owned()],
            ..NodeDescription::default()
        };
        self.nodes.push(NodeHost {
            id: None,
            description,
            clock,
            life: 0,
            agent: None,
            disk: AgentDisk::default(),
            containers: BTreeMap::new(),
            prepared: BTreeSet::new(),
            paused: None,
        });
    }

    /// A node was removed from the cluster: its machine is emptied, and joins as a new one.
    pub fn leave(&mut self, node: usize) {
        trace!(self, "machine {node} leaves the cluster");
        self.reboot(node);
        self.nodes[node].disk = AgentDisk::default();
        self.nodes[node].id = None;
        self.checks.agents.forget(node);
        self.errand(Wish::JoinNode(node));
    }
}
