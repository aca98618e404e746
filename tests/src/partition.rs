//! Partitions between a cluster's controllers. Clients and agents reach every controller all the while.

use crate::{
    cluster::Cluster,
    host::{Direction, Host},
};

impl Cluster {
    fn controller_hosts(&self) -> Vec<&Host> {
        (0..self.controller_addresses().len()).map(|index| self.controller_host(index)).collect()
    }

    /// Parts these controllers from the others.
    pub fn partition(&self, some: &[usize]) {
        let hosts = self.controller_hosts();
        let addresses = |side: bool| -> Vec<&str> {
            let here = hosts.iter().enumerate().filter(|(index, _)| some.contains(index) == side);
            here.map(|(_, host)| host.address.as_str()).collect()
        };
        let (ours, theirs) = (addresses(true), addresses(false));
        for (index, host) in hosts.iter().enumerate() {
            let others = if some.contains(&index) { &theirs } else { &ours };
            if !others.is_empty() {
                host.block(Direction::Both, others);
            }
        }
    }

    /// Has a controller drop what comes from its peers, or what it sends them.
    pub fn cut_off(&self, index: usize, direction: Direction) {
        let hosts = self.controller_hosts();
        let peers: Vec<&str> = hosts
            .iter()
            .enumerate()
            .filter(|(peer, _)| *peer != index)
            .map(|(_, host)| host.address.as_str())
            .collect();
        if !peers.is_empty() {
            hosts[index].block(direction, &peers);
        }
    }

    /// Ends every partition between controllers.
    pub fn heal_partition(&self) {
        for host in self.controller_hosts() {
            host.unblock();
        }
    }
}
