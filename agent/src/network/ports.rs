//! The node's ports that are published: which are taken, which are free, and sockets that hold them, so that no other
//! program of the node takes one that leads to a container.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{Port, Protocol};

use super::{NetworkError, Published};

/// Where the agent chooses ports: what the kernel takes for outgoing connections lies above, as does nothing well known.
const CHOICE: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Holds ports of the node.
pub trait Holder: Send + Sync + 'static {
    /// What holds a port until it is dropped.
    type Hold: Send + 'static;

    /// Takes a port.
    ///
    /// # Errors
    /// When another program has it.
    fn hold(&self, host: Option<Ipv4Addr>, protocol: Protocol, port: u16) -> Result<Self::Hold, Errno>;
}

/// Holds ports with bound sockets, on which nothing listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets;

impl Holder for Sockets {
    type Hold = OwnedFd;

    fn hold(&self, host: Option<Ipv4Addr>, protocol: Protocol, port: u16) -> Result<OwnedFd, Errno> {
        let kind = match protocol {
            Protocol::Tcp => SockType::Stream,
            Protocol::Udp => SockType::Datagram,
        };
        let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
        let address = std::net::SocketAddrV4::new(host.unwrap_or(Ipv4Addr::UNSPECIFIED), port);
        bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
        Ok(fd)
    }
}

type Key = (Protocol, u16, Option<Ipv4Addr>);

/// The ports that are published.
#[derive(Debug)]
pub struct Ports<H: Holder> {
    holder: H,
    /// A port that was published by an earlier agent may be held by nobody: the container keeps it all the same.
    taken: BTreeMap<Key, (TaskId, Option<H::Hold>)>,
    next: u16,
}

impl<H: Holder> Ports<H> {
    /// None yet.
    pub fn new(holder: H) -> Self {
        Ports { holder, taken: BTreeMap::new(), next: *CHOICE.start() }
    }

    /// Takes ports over that an earlier agent published.
    pub fn recover(&mut self, task: TaskId, ports: &[Published]) {
        for port in ports {
            let hold = self.holder.hold(port.host, port.protocol, port.published);
            if let Err(error) = &hold {
                tracing::warn!(%task, port = port.published, %error, "another program has taken a published port");
            }
            self.taken.insert((port.protocol, port.published, port.host), (task, hold.ok()));
        }
    }

    /// Takes ports for a task, all or none.
    ///
    /// # Errors
    /// When one is taken already.
    pub fn take(&mut self, task: TaskId, wanted: &[Port]) -> Result<Vec<Published>, NetworkError> {
        let mut given = Vec::new();
        for port in wanted {
            match self.take_one(task, port) {
                Ok(published) => given.push(published),
                Err(error) => {
                    self.give_back(task);
                    return Err(error);
                }
            }
        }
        Ok(given)
    }

    fn take_one(&mut self, task: TaskId, port: &Port) -> Result<Published, NetworkError> {
        let host = match port.host_ip.as_deref().map(str::parse::<Ipv4Addr>) {
            None => None,
            Some(Ok(address)) => (!address.is_unspecified()).then_some(address),
            Some(Err(_)) => {
                return Err(NetworkError::HostAddress(port.host_ip.clone().unwrap_or_default()));
            }
        };
        let published =
            |number| Published { host, protocol: port.protocol, published: number, target: port.target };
        if let Some(number) = port.published {
            let taken = |by| NetworkError::PortTaken { port: number, protocol: word(port.protocol), by };
            if let Some(owner) = self.owner(host, port.protocol, number) {
                return Err(taken(format!("task {owner}")));
            }
            let hold = self.holder.hold(host, port.protocol, number).map_err(|error| match error {
                Errno::EADDRINUSE => taken("another program of the node".to_owned()),
                Errno::EADDRNOTAVAIL => NetworkError::HostAddress(format!(
                    "{} (the node doesn't have it)",
                    host.unwrap_or(Ipv4Addr::UNSPECIFIED)
                )),
                other => taken(format!("somebody ({})", other.desc())),
            })?;
            self.taken.insert((port.protocol, number, host), (task, Some(hold)));
            return Ok(published(number));
        }
        for _ in CHOICE {
            let number = self.next;
            self.next = if number == *CHOICE.end() { *CHOICE.start() } else { number + 1 };
            if self.owner(host, port.protocol, number).is_none()
                && let Ok(hold) = self.holder.hold(host, port.protocol, number)
            {
                self.taken.insert((port.protocol, number, host), (task, Some(hold)));
                return Ok(published(number));
            }
        }
        Err(NetworkError::NoPort(port.target))
    }

    /// Whose port this is: one on every address is in the way of each, and the other way round.
    fn owner(&self, host: Option<Ipv4Addr>, protocol: Protocol, port: u16) -> Option<TaskId> {
        let range = (protocol, port, None)..=(protocol, port, Some(Ipv4Addr::BROADCAST));
        let clashes = |other: Option<Ipv4Addr>| host.is_none() || other.is_none() || host == other;
        self.taken.range(range).find(|((_, _, other), _)| clashes(*other)).map(|(_, (task, _))| *task)
    }

    /// Gives all ports of a task back.
    pub fn give_back(&mut self, task: TaskId) {
        self.taken.retain(|_, (owner, _)| *owner != task);
    }
}

/// The protocol as people and packet filters write it.
pub(super) fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node on which another program listens on port 80.
    struct Node;

    impl Holder for Node {
        type Hold = ();
        fn hold(&self, _: Option<Ipv4Addr>, _: Protocol, port: u16) -> Result<(), Errno> {
            if port == 80 || port == *CHOICE.start() { Err(Errno::EADDRINUSE) } else { Ok(()) }
        }
    }

    fn port(published: Option<u16>, host: Option<&str>) -> Port {
        Port { target: 8080, published, host_ip: host.map(str::to_owned), protocol: Protocol::Tcp }
    }

    #[test]
    fn a_port_is_published_once() {
        let mut ports = Ports::new(Node);
        ports.take(TaskId(1), &[port(Some(8080), None)]).unwrap();
        let error =
            ports.take(TaskId(2), &[port(Some(9000), None), port(Some(8080), Some("10.0.0.1"))]).unwrap_err();
        assert_eq!(error.to_string(), "port 8080/tcp of the node is taken by task 1");
        ports.give_back(TaskId(1));
        ports.take(TaskId(2), &[port(Some(9000), None), port(Some(8080), Some("10.0.0.1"))]).unwrap();
        ports.take(TaskId(3), &[port(Some(8080), Some("10.0.0.2"))]).unwrap();
    }

    #[test]
    fn other_programs_keep_their_ports_and_a_free_one_is_found() {
        let mut ports = Ports::new(Node);
        let error = ports.take(TaskId(1), &[port(Some(80), None)]).unwrap_err();
        assert!(error.to_string().contains("another program"), "{error}");
        let given = ports.take(TaskId(1), &[port(None, None), port(None, Some("0.0.0.0"))]).unwrap();
        assert_eq!(given[0].published, *CHOICE.start() + 1);
        assert_eq!((given[1].published, given[1].host), (*CHOICE.start() + 2, None));
        assert!(ports.take(TaskId(1), &[port(Some(1), Some("::1"))]).is_err());
    }
}
