//! Faults of the network between a cluster's controllers. Clients and agents reach every controller all the while.

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
        let all = 0..self.controller_addresses().len();
        let others: Vec<usize> = all.filter(|index| !some.contains(index)).collect();
        for one in some {
            for other in &others {
                self.cut_link(*one, *other);
            }
        }
    }

    /// Parts two controllers from each other; both reach all the others.
    pub fn cut_link(&self, one: usize, other: usize) {
        self.controller_host(one).block(
            Direction::Both,
            &[self.controller_host(other).address.as_str()],
            100,
        );
    }

    /// Has a controller drop what comes from its peers, or what it sends them: of a hundred packets so many.
    pub fn cut_off(&self, index: usize, direction: Direction, percent: u8) {
        let hosts = self.controller_hosts();
        let peers: Vec<&str> = hosts
            .iter()
            .enumerate()
            .filter(|(peer, _)| *peer != index)
            .map(|(_, host)| host.address.as_str())
            .collect();
        if !peers.is_empty() {
            hosts[index].block(direction, &peers, percent);
        }
    }

    /// Ends every fault between controllers.
    pub fn heal_partition(&self) {
        for host in self.controller_hosts() {
            host.unblock();
        }
    }
}
