//! Links, addresses and routes, through netlink.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use super::NetworkError;
use super::address::Subnet;
use super::netns::inside;

/// The link's name inside a container, as everybody expects it.
const INSIDE: &str = "eth0";

/// The links of one network namespace: the one that the calling thread is in when this is opened.
#[derive(Debug, Clone)]
pub(super) struct Links(Handle);

fn failed(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let what = what.into();
    |error| {
        let cause = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
            other => other.to_string(),
        };
        NetworkError::Link { what, cause }
    }
}

fn is(error: &rtnetlink::Error, code: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -code)
}

impl Links {
    pub(super) fn open() -> std::io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        // Ends when the last handle is dropped.
        tokio::spawn(connection);
        Ok(Links(handle))
    }

    /// The index of a link, if there is such a link.
    pub(super) async fn index(&self, name: &str) -> Result<Option<u32>, NetworkError> {
        match self.0.link().get().match_name(name).execute().try_next().await {
            Ok(found) => Ok(found.map(|link| link.header.index)),
            Err(error) if is(&error, libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(format!("look for link {name}"))(error)),
        }
    }

    /// A link's IPv4 subnets.
    pub(super) async fn subnets(&self, index: u32) -> Result<Vec<Subnet>, NetworkError> {
        let mut found = Vec::new();
        let mut addresses = self.0.address().get().set_link_index_filter(index).execute();
        while let Some(message) = addresses.try_next().await.map_err(failed("list addresses"))? {
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            found.extend(local.map(|address| Subnet::of(address, message.header.prefix_len)));
        }
        Ok(found)
    }

    /// Subnets that are routed somewhere already; the default route is in nobody's way.
    pub(super) async fn routed(&self) -> Result<Vec<Subnet>, NetworkError> {
        let mut found = Vec::new();
        let mut routes = self.0.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        while let Some(route) = routes.try_next().await.map_err(failed("list routes"))? {
            found.extend(destination(&route));
        }
        Ok(found)
    }

    /// Makes a bridge with a fixed hardware address: else it would take another with every container that comes.
    pub(super) async fn add_bridge(&self, name: &str, subnet: Subnet) -> Result<u32, NetworkError> {
        let message = LinkBridge::new(name).address(hardware(subnet.gateway())).build();
        match self.0.link().add(message).execute().await {
            Err(error) if !is(&error, libc::EEXIST) => {
                return Err(failed(format!("make bridge {name}"))(error));
            }
            _ => {}
        }
        let none =
            || NetworkError::Link { what: format!("make bridge {name}"), cause: "it is gone at once".into() };
        let index = self.index(name).await?.ok_or_else(none)?;
        let address = self.0.address().add(index, subnet.gateway().into(), subnet.prefix());
        address
            .replace()
            .execute()
            .await
            .map_err(failed(format!("give {name} the address {}", subnet.gateway())))?;
        self.set_up(index, name).await?;
        Ok(index)
    }

    /// Makes a pair of links: one end on the bridge, the other in the namespace, made right there.
    pub(super) async fn add_pair(
        &self,
        name: &str,
        bridge: u32,
        namespace: &Path,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let file = std::fs::File::open(namespace).map_err(NetworkError::io("open", namespace))?;
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(INSIDE)
            .address(hardware(address))
            .setns_by_fd(file.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .controller(bridge)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        self.0.link().add(pair).execute().await.map_err(failed(format!("make link {name}")))
    }

    /// Lets what comes from a link go back to it: a container that speaks to its own published port.
    pub(super) async fn set_hairpin(&self, name: &str) -> Result<(), NetworkError> {
        let missing = || NetworkError::Link { what: format!("find link {name}"), cause: "it is gone".into() };
        let index = self.index(name).await?.ok_or_else(missing)?;
        let port = LinkBridgePort::new(index).hairpin(true).build();
        self.0.link().set_port(port).execute().await.map_err(failed(format!("change link {name}")))
    }

    /// Gives the link inside a namespace its address and the way out.
    pub(super) async fn set_up_inside(
        namespace: &Path,
        address: Ipv4Addr,
        subnet: Subnet,
    ) -> Result<(), NetworkError> {
        let runtime = tokio::runtime::Handle::current();
        let links = inside(namespace, move || {
            let _entered = runtime.enter();
            Links::open()
        })?;
        links.set_up(1, "lo").await?;
        let missing = || NetworkError::Link { what: format!("find {INSIDE}"), cause: "it is gone".into() };
        let index = links.index(INSIDE).await?.ok_or_else(missing)?;
        // Not before the other end is made: the kernel sets no end up that has none.
        links.set_up(index, INSIDE).await?;
        let add = links.0.address().add(index, address.into(), subnet.prefix());
        add.execute().await.map_err(failed(format!("give {INSIDE} the address {address}")))?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(subnet.gateway()).build();
        links.0.route().add(route).execute().await.map_err(failed("add the default route"))
    }

    /// Deletes a link; whether there was one.
    pub(super) async fn delete(&self, name: &str) -> Result<bool, NetworkError> {
        let Some(index) = self.index(name).await? else { return Ok(false) };
        match self.0.link().del(index).execute().await {
            Err(error) if !is(&error, libc::ENODEV) => Err(failed(format!("delete link {name}"))(error)),
            _ => Ok(true),
        }
    }

    async fn set_up(&self, index: u32, name: &str) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.0.link().set(message).execute().await.map_err(failed(format!("set {name} up")))
    }

    /// Names of the links on a bridge.
    pub(super) async fn on_bridge(&self, bridge: u32) -> Result<Vec<String>, NetworkError> {
        let on_it = |link: &LinkMessage| link.attributes.contains(&LinkAttribute::Controller(bridge));
        let mut names = Vec::new();
        let mut links = self.0.link().get().execute();
        while let Some(link) = links.try_next().await.map_err(failed("list links"))? {
            if on_it(&link) {
                names.extend(link.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name.clone()),
                    _ => None,
                }));
            }
        }
        Ok(names)
    }
}

fn destination(route: &RouteMessage) -> Option<Subnet> {
    let prefix = route.header.destination_prefix_length;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) if prefix > 0 => {
            Some(Subnet::of(*address, prefix))
        }
        _ => None,
    })
}

/// A hardware address made of an IP address, so that neighbours needn't learn a new one when a container is replaced.
fn hardware(address: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = address.octets();
    vec![0x02, 0x57, a, b, c, d]
}
