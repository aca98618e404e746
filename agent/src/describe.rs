//! What this machine is, for the scheduler and for people.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

use wharf_image::Platform;
use wharf_proto::v1;
use wharf_runtime::host::HostFacts;

/// What this machine is.
pub fn describe(
    host: &HostFacts,
    name: &str,
    address: Option<IpAddr>,
    runtimes: Vec<String>,
    labels: BTreeMap<String, String>,
) -> v1::NodeDescription {
    let platform = Platform::host();
    let kernel = nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned());
    v1::NodeDescription {
        hostname: name.to_owned(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        platform: Some(v1::Platform { os: platform.os, architecture: platform.architecture }),
        kernel: kernel.unwrap_or_default(),
        nano_cpus: u64::from(host.cpus) * 1_000_000_000,
        memory: host.memory,
        cgroups: host.cgroup_mode.as_str().to_owned(),
        runtimes,
        labels,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The address that this machine would use to speak to one of these; nothing is sent to find out.
pub fn own_address(controllers: &[String]) -> Option<IpAddr> {
    let targets = controllers.iter().filter_map(|address| address.to_socket_addrs().ok()).flatten();
    targets.filter_map(|target| towards(target).ok()).find(|own| !own.is_unspecified())
}

fn towards(target: std::net::SocketAddr) -> std::io::Result<IpAddr> {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described_in_words_that_a_controller_takes() {
        let host = HostFacts::detect().unwrap();
        let labels = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
        let said =
            describe(&host, "n1", own_address(&["127.0.0.1:7400".into()]), vec!["wharf".into()], labels);
        let taken = wharf_cluster::model::NodeDescription::try_from(said).unwrap();
        assert_eq!((taken.hostname.as_str(), taken.address.as_str()), ("n1", "127.0.0.1"));
        assert_eq!(taken.platform.os, "linux");
        assert!(taken.nano_cpus > 0 && taken.memory > 0 && !taken.kernel.is_empty());
    }
}
