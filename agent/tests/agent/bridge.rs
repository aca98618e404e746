//! The node's bridge, in a network namespace of the test's own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use wharf_agent::network::bridge::{Bridge, BridgeOptions};
use wharf_agent::network::{Attached, Network};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{Port, Protocol};

use crate::support::real::names;
use crate::support::{in_own_network, run, until};

async fn open(dir: &Path) -> Bridge {
    let options = BridgeOptions { name: "wharf0".into(), subnet: None, run_dir: dir.to_owned() };
    Bridge::open(options).await.unwrap()
}

fn inside<T: Send + 'static>(netns: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = std::fs::File::open(netns).unwrap();
    let thread = std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    });
    thread.join().unwrap()
}

/// Answers so many connections inside a task's network, with the address that they came from.
fn serve(at: &Attached, port: u16, connections: usize) {
    let (ready, wait) = std::sync::mpsc::channel();
    let netns = at.netns.clone();
    std::thread::spawn(move || {
        inside(&netns, move || {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            ready.send(()).unwrap();
            for _ in 0..connections {
                let (mut stream, from) = listener.accept().unwrap();
                stream.write_all(from.ip().to_string().as_bytes()).unwrap();
            }
        });
    });
    wait.recv_timeout(Duration::from_secs(10)).unwrap();
}

fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn port(target: u16, published: Option<u16>) -> Port {
    Port { target, published, host_ip: None, protocol: Protocol::Tcp }
}

#[test]
fn tasks_reach_one_another_and_are_reached_at_their_ports() {
    in_own_network(|| async {
        let dir = tempfile::tempdir().unwrap();
        let bridge = open(dir.path()).await;
        let one = bridge.attach(TaskId(1), &[port(80, Some(8080))]).await.unwrap();
        let two = bridge.attach(TaskId(2), &[port(80, None)]).await.unwrap();
        assert_eq!(bridge.attach(TaskId(1), &[]).await.unwrap(), one, "attached already");
        let other = BridgeOptions { name: "wharf0".into(), subnet: None, run_dir: dir.path().join("other") };
        let refused = Bridge::open(other).await.err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("another agent has bridge wharf0")));

        // From container to container, with its own address.
        serve(&one, 80, 4);
        let to = SocketAddr::from((one.address, 80));
        assert_eq!(inside(&two.netns, move || ask(to)), two.address.to_string());
        // From the node, by loopback and by its address on the bridge.
        for host in [Ipv4Addr::LOCALHOST, bridge.gateway()] {
            ask(SocketAddr::from((host, 8080)));
        }
        let chosen = two.ports[0].published;
        serve(&two, 80, 1);
        ask(SocketAddr::from((Ipv4Addr::LOCALHOST, chosen)));
        // From a container, its own published port.
        let own = SocketAddr::from((bridge.gateway(), 8080));
        inside(&one.netns, move || ask(own));
        // The port is the node's, and nobody else's.
        assert!(TcpListener::bind(("0.0.0.0", 8080)).is_err());
        let taken = bridge.attach(TaskId(3), &[port(80, Some(8080))]).await.unwrap_err();
        assert_eq!(taken.to_string(), "port 8080/tcp of the node is taken by task 1");

        for id in 1..=3 {
            bridge.detach(TaskId(id)).await.unwrap();
        }
        TcpListener::bind(("0.0.0.0", 8080)).unwrap();
        assert!(!run("nft", &["list", "map", "ip", "wharf0", "published"]).contains("8080"));
        bridge.remove().await.unwrap();
        assert_eq!(run("nft", &["list", "tables"]), "");
        until("the links' end", || !run("ip", &["-o", "link"]).contains("wh")).await;
        assert_eq!(names(&dir.path().join("netns")), Vec::<String>::new());
    });
}

#[test]
fn containers_do_not_reach_the_nodes_loopback() {
    in_own_network(|| async {
        let dir = tempfile::tempdir().unwrap();
        let bridge = open(dir.path()).await;
        let one = bridge.attach(TaskId(1), &[]).await.unwrap();
        let secret = TcpListener::bind("127.0.0.1:9999").unwrap();
        // The way a container could try: its own loopback routed out.
        let gateway = bridge.gateway().to_string();
        inside(&one.netns, move || {
            run("ip", &["route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"]);
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            run("ip", &["route", "replace", "127.0.0.1/32", "via", &gateway, "dev", "eth0"]);
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9999));
            assert!(TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_err());
        });
        secret.set_nonblocking(true).unwrap();
        assert!(secret.accept().is_err());
        bridge.detach(TaskId(1)).await.unwrap();
    });
}

#[test]
fn a_later_agent_finds_what_is_attached_and_clears_what_was_not_finished() {
    in_own_network(|| async {
        let dir = tempfile::tempdir().unwrap();
        let bridge = open(dir.path()).await;
        let one = bridge.attach(TaskId(1), &[port(80, Some(8080))]).await.unwrap();
        let two = bridge.attach(TaskId(2), &[]).await.unwrap();
        // As if the agent had been killed before it wrote the second one down.
        std::fs::remove_file(dir.path().join("network/2.json")).unwrap();
        run("nft", &["flush", "map", "ip", "wharf0", "published"]);
        drop(bridge);

        let bridge = open(dir.path()).await;
        assert_eq!(bridge.attached(), [(TaskId(1), one.clone())].into());
        serve(&one, 80, 1);
        ask(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
        assert!(!two.netns.exists());
        assert!(!run("ip", &["-o", "link"]).contains("wh2"));
        let again = bridge.attach(TaskId(2), &[]).await.unwrap();
        assert_ne!(again.address, one.address);
        for id in 1..=2 {
            bridge.detach(TaskId(id)).await.unwrap();
        }
        bridge.remove().await.unwrap();
    });
}

#[test]
fn a_subnet_is_chosen_that_nobody_else_has() {
    in_own_network(|| async {
        run("ip", &["link", "add", "other", "type", "bridge"]);
        run("ip", &["addr", "add", "10.201.3.1/16", "dev", "other"]);
        run("ip", &["link", "set", "other", "up"]);
        let dir = tempfile::tempdir().unwrap();
        let bridge = open(dir.path()).await;
        assert_eq!(bridge.subnet().to_string(), "10.202.0.0/20");
        // It stays what it was, until another is asked for while nobody lives there.
        drop(bridge);
        let bridge = open(dir.path()).await;
        assert_eq!(bridge.subnet().to_string(), "10.202.0.0/20");
        drop(bridge);
        let subnet = "10.77.0.0/24".parse().unwrap();
        let options =
            BridgeOptions { name: "wharf0".into(), subnet: Some(subnet), run_dir: dir.path().to_owned() };
        let bridge = Bridge::open(options).await.unwrap();
        assert_eq!(bridge.gateway().to_string(), "10.77.0.1");
        bridge.remove().await.unwrap();
    });
}
