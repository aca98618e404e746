//! The files of a container's `/etc` that the node makes.

use std::net::Ipv4Addr;

/// The network's gateway, which a container knows the node by.
const HOST_GATEWAY: &str = "host-gateway";

/// `/etc/hosts` of a container with an address of its own, or of none.
pub fn hosts(
    address: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    hostname: &str,
    extra: &[(String, String)],
) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    text.push_str(&extra_hosts(gateway, extra));
    let own = address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
    // The part before the first dot is a name as well: programs look themselves up by it.
    let short = hostname.split('.').next().filter(|short| *short != hostname && !short.is_empty());
    let short = short.map(|short| format!(" {short}")).unwrap_or_default();
    text.push_str(&format!("{own}\t{hostname}{short}\n"));
    text
}

/// Lines for the names that a task adds; one that is not a name and an address is left out.
pub fn extra_hosts(gateway: Option<Ipv4Addr>, extra: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, address) in extra {
        let address = match (address.as_str(), gateway) {
            (HOST_GATEWAY, Some(gateway)) => gateway.to_string(),
            (HOST_GATEWAY, None) => "127.0.0.1".to_owned(),
            (address, _) => address.to_owned(),
        };
        if !name.contains(char::is_whitespace) && address.parse::<std::net::IpAddr>().is_ok() {
            text.push_str(&format!("{address}\t{name}\n"));
        }
    }
    text
}

/// The node's `/etc/resolv.conf` as a container can use it. Name servers on loopback are the node's own and not
/// reached from another network namespace.
pub fn resolv_conf(node: &str, own_namespace: bool) -> String {
    let on_loopback = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver")
            && words
                .next()
                .and_then(|address| address.parse::<std::net::IpAddr>().ok())
                .is_some_and(|a| a.is_loopback())
    };
    let kept = node.lines().filter(|line| !own_namespace || !on_loopback(line));
    kept.map(|line| format!("{line}\n")).collect()
}
