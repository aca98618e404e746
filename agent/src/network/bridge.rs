//! A bridge of this node, in the network namespace that the agent runs in: every container has a pair of links to it
//! and a private address; NAT lets it out, and published ports in.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use async_trait::async_trait;
use parking_lot::Mutex;
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::Port;

use super::address::{Pool, Subnet};
use super::link::Links;
use super::netns::{Namespaces, is_namespace};
use super::nft::{self, Filter};
use super::ports::{Ports, Sockets};
use super::record::Records;
use super::{Attached, Network, NetworkError};

/// What the bridge is to be like.
#[derive(Debug, Clone)]
pub struct BridgeOptions {
    /// Its name, and that of the packet filter's table.
    pub name: String,
    /// Its subnet; one that is free is chosen if none is given.
    pub subnet: Option<Subnet>,
    /// Where namespaces and records are kept; gone after a restart of the machine.
    pub run_dir: PathBuf,
}

/// The bridge.
pub struct Bridge {
    name: String,
    index: u32,
    subnet: Subnet,
    links: Links,
    namespaces: Namespaces,
    records: Records,
    filter: Filter,
    state: Mutex<State>,
    /// Held as long as this lives.
    _claim: UnixDatagram,
}

struct State {
    attached: BTreeMap<TaskId, Attached>,
    addresses: Pool,
    ports: Ports<Sockets>,
}

/// Prefix of the links' names. With a task's id, of 13 characters at most, it fits into a link's name.
const LINK: &str = "wh";

impl Bridge {
    /// Makes the bridge or finds it as an earlier agent left it, with what is attached to it.
    ///
    /// # Errors
    /// When the kernel refuses something, such as to one who isn't root.
    pub async fn open(options: BridgeOptions) -> Result<Self, NetworkError> {
        let claim = claim(&options.name)?;
        let namespaces = Namespaces::open(&options.run_dir.join("netns"))?;
        let records = Records::open(&options.run_dir.join("network"))?;
        let links = Links::open().map_err(NetworkError::io("speak netlink for", &options.run_dir))?;
        let name = options.name;
        let found = match links.index(&name).await? {
            Some(index) => links.subnets(index).await?.first().copied(),
            None => None,
        };
        let mut attached = records.all()?;
        attached.retain(|_, one| is_namespace(&one.netns));
        let subnet = match (options.subnet, found) {
            (Some(wanted), Some(found)) if wanted != found && attached.is_empty() => {
                // Another subnet was asked for, and nobody lives in the old one.
                links.delete(&name).await?;
                wanted
            }
            (Some(wanted), Some(found)) if wanted != found => {
                tracing::warn!(%wanted, %found, "containers live in the bridge's old subnet, which therefore stays");
                found
            }
            (_, Some(found)) => found,
            (Some(wanted), None) => wanted,
            (None, None) => free_subnet(&links.routed().await?).ok_or(NetworkError::NoSubnet)?,
        };
        let index = links.add_bridge(&name, subnet).await?;
        set_sysctls(&name)?;
        nft::run(&nft::table(&name, subnet, attached.values())).await?;
        let mut ports = Ports::new(Sockets);
        for (task, one) in &attached {
            ports.recover(*task, &one.ports);
        }
        let addresses = Pool::new(subnet, attached.values().map(|one| one.address));
        let bridge = Bridge {
            index,
            subnet,
            links,
            namespaces,
            records,
            filter: Filter::start(),
            state: Mutex::new(State { attached, addresses, ports }),
            _claim: claim,
            name,
        };
        bridge.clear_leftovers().await?;
        Ok(bridge)
    }

    /// The bridge's subnet.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Takes the bridge away, with the packet filter's table.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(&self) -> Result<(), NetworkError> {
        nft::run(&nft::no_table(&self.name)).await?;
        self.links.delete(&self.name).await?;
        Ok(())
    }

    /// What a killed agent had begun and not written down.
    async fn clear_leftovers(&self) -> Result<(), NetworkError> {
        let known = self.attached();
        for task in self.namespaces.all()?.into_iter().filter(|task| !known.contains_key(task)) {
            self.namespaces.remove(task)?;
            self.records.remove(task)?;
        }
        for link in self.links.on_bridge(self.index).await? {
            let task = link.strip_prefix(LINK).and_then(|id| id.parse::<TaskId>().ok());
            if task.is_some_and(|task| !known.contains_key(&task)) {
                self.links.delete(&link).await?;
            }
        }
        Ok(())
    }

    async fn connect(&self, task: TaskId, attached: &Attached) -> Result<(), NetworkError> {
        // Of an attempt that failed before.
        self.namespaces.remove(task)?;
        let namespaces = self.namespaces.clone();
        tokio::task::spawn_blocking(move || namespaces.create(task))
            .await
            .map_err(|_| NetworkError::Stopped)??;
        self.links.add_pair(&link_name(task), self.index, &attached.netns, attached.address).await?;
        if !attached.ports.is_empty() {
            self.links.set_hairpin(&link_name(task)).await?;
        }
        Links::set_up_inside(&attached.netns, attached.address, self.subnet).await?;
        self.filter.change(nft::elements(&self.name, "add", attached)).await?;
        self.records.put(task, attached)
    }

    /// What can be taken away of a task, whether or not it was whole.
    async fn disconnect(&self, task: TaskId, attached: &Attached) -> Result<(), NetworkError> {
        if let Err(error) = self.filter.change(nft::elements(&self.name, "delete", attached)).await {
            // They are not there, then.
            tracing::debug!(%task, %error, "ports were not in the packet filter");
        }
        // The kernel takes the links of namespaces that are gone, many at a time. Deleting one takes 30 ms, in which
        // no other link of the machine can be made.
        let namespaces = self.namespaces.clone();
        tokio::task::spawn_blocking(move || namespaces.remove(task))
            .await
            .map_err(|_| NetworkError::Stopped)??;
        self.records.remove(task)
    }

    fn release(&self, task: TaskId, address: Ipv4Addr) {
        let mut state = self.state.lock();
        state.attached.remove(&task);
        state.addresses.give_back(address);
        state.ports.give_back(task);
    }
}

#[async_trait]
impl Network for Bridge {
    async fn attach(&self, task: TaskId, ports: &[Port]) -> Result<Attached, NetworkError> {
        let attached = {
            let mut state = self.state.lock();
            if let Some(attached) = state.attached.get(&task) {
                return Ok(attached.clone());
            }
            let published = state.ports.take(task, ports)?;
            let Some(address) = state.addresses.take() else {
                state.ports.give_back(task);
                return Err(NetworkError::NoAddress(self.subnet));
            };
            Attached { netns: self.namespaces.path(task), address, ports: published }
        };
        if let Err(error) = self.connect(task, &attached).await {
            match self.disconnect(task, &attached).await {
                Ok(()) => self.release(task, attached.address),
                // The address stays taken: it may still be in use.
                Err(left) => {
                    tracing::warn!(%task, error = %left, "could not clean up after a failed attachment");
                }
            }
            return Err(error);
        }
        self.state.lock().attached.insert(task, attached.clone());
        Ok(attached)
    }

    async fn detach(&self, task: TaskId) -> Result<(), NetworkError> {
        let Some(attached) = self.state.lock().attached.get(&task).cloned() else { return Ok(()) };
        self.disconnect(task, &attached).await?;
        self.release(task, attached.address);
        Ok(())
    }

    fn attached(&self) -> BTreeMap<TaskId, Attached> {
        self.state.lock().attached.clone()
    }

    fn gateway(&self) -> Ipv4Addr {
        self.subnet.gateway()
    }
}

/// Takes the bridge for this process, in this network namespace: abstract socket names are a namespace's own.
fn claim(bridge: &str) -> Result<UnixDatagram, NetworkError> {
    let taken = |_| NetworkError::BridgeTaken(bridge.to_owned());
    let name = SocketAddr::from_abstract_name(format!("wharf-bridge/{bridge}")).map_err(taken)?;
    UnixDatagram::bind_addr(&name).map_err(taken)
}

fn link_name(task: TaskId) -> String {
    format!("{LINK}{task}")
}

fn free_subnet(routed: &[Subnet]) -> Option<Subnet> {
    Subnet::candidates().find(|candidate| !routed.iter().any(|other| other.overlaps(*candidate)))
}

/// Forwarding, and connections from the node's loopback to published ports; the guard chain keeps containers from the
/// node's loopback.
fn set_sysctls(bridge: &str) -> Result<(), NetworkError> {
    for path in [
        "/proc/sys/net/ipv4/ip_forward".to_owned(),
        format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"),
    ] {
        let path = PathBuf::from(path);
        if std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
            continue;
        }
        std::fs::write(&path, "1").map_err(NetworkError::io("write to", &path))?;
    }
    Ok(())
}
