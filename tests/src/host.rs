//! Hosts: network namespaces on a switch.

use nix::sched::{CloneFlags, setns};
use std::{
    fs::File,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, JoinHandle},
};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A namespace with a bridge that hosts are plugged into. Nothing of it is seen outside.
#[derive(Debug)]
pub struct Switch {
    namespace: String,
}

/// Which packets a host drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that come to it.
    Inbound,
    /// Those that it sends.
    Outbound,
    /// Both.
    Both,
}

/// A network namespace with one address, plugged into a switch.
#[derive(Debug)]
pub struct Host {
    namespace: String,
    port: String,
    switch: String,
    /// Its address.
    pub address: String,
}

impl Switch {
    /// A switch without hosts.
    ///
    /// # Panics
    /// Without root, or when `ip` fails.
    #[must_use]
    pub fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "tests on real clusters need root: they make network namespaces"
        );
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("wt{}-{count}", std::process::id());
        run(&["netns", "add", &namespace]);
        run(&["-n", &namespace, "link", "add", "br0", "type", "bridge"]);
        run(&["-n", &namespace, "link", "set", "br0", "up"]);
        Switch { namespace }
    }

    /// A host with the address `10.88.0.LAST`.
    ///
    /// # Panics
    /// When `ip` fails.
    #[must_use]
    pub fn host(&self, name: &str, last: u8) -> Host {
        let namespace = format!("{}-{name}", self.namespace);
        let address = format!("10.88.0.{last}");
        let port = format!("p{last}");
        run(&["netns", "add", &namespace]);
        run(&[
            "-n",
            &self.namespace,
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &namespace,
        ]);
        run(&["-n", &self.namespace, "link", "set", &port, "master", "br0", "up"]);
        run(&["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        run(&["-n", &namespace, "link", "set", "eth0", "up"]);
        run(&["-n", &namespace, "link", "set", "lo", "up"]);
        Host { namespace, port, switch: self.namespace.clone(), address }
    }
}

impl Default for Switch {
    fn default() -> Self {
        Switch::new()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        try_run(&["netns", "del", &self.namespace]);
    }
}

impl Host {
    /// A command that will run on this host: in its network namespace, and nothing else changed (`ip netns exec`
    /// would hide the cgroups).
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg("--").arg(program);
        command
    }

    /// Runs `task` on a thread that is on this host, and whose connections are made from here.
    ///
    /// # Panics
    /// When the thread can't be started, or (in the thread) when it can't enter the host.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let namespace = format!("/run/netns/{}", self.namespace);
        let run = move || {
            let file = File::open(&namespace).expect("the host is there");
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a host");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(task)
        };
        thread::Builder::new()
            .name(format!("on {}", self.address))
            .spawn(run)
            .expect("a thread can be started")
    }

    /// Drops what comes from these addresses, or goes to them, besides what is dropped already: of a hundred packets so
    /// many.
    ///
    /// # Panics
    /// When `nft` fails.
    pub fn block(&self, direction: Direction, addresses: &[&str], percent: u8) {
        let those = addresses.join(", ");
        let some = if percent < 100 { format!("numgen random mod 100 < {percent} ") } else { String::new() };
        let chain = |hook: &str, field: &str| {
            format!(
                "add chain inet faults {hook} {{ type filter hook {hook} priority -300; }}\n\
                 add rule inet faults {hook} ip {field} {{ {those} }} {some}drop\n"
            )
        };
        let mut rules = String::from("add table inet faults\n");
        if direction != Direction::Outbound {
            rules += &chain("input", "saddr");
        }
        if direction != Direction::Inbound {
            rules += &chain("output", "daddr");
        }
        self.nft(&rules);
    }

    /// Drops nothing any more.
    ///
    /// # Panics
    /// When `nft` fails.
    pub fn unblock(&self) {
        self.nft("add table inet faults\ndelete table inet faults\n");
    }

    fn nft(&self, rules: &str) {
        let output = self.command("nft").arg(rules).output().expect("nft can be run (package nftables)");
        assert!(output.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Pulls the plug.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn cut(&self) {
        run(&["-n", &self.switch, "link", "set", &self.port, "down"]);
    }

    /// Puts the plug back.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn heal(&self) {
        run(&["-n", &self.switch, "link", "set", &self.port, "up"]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        try_run(&["netns", "del", &self.namespace]);
    }
}

fn run(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip can be run (package iproute2)");
    assert!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
}

fn try_run(args: &[&str]) {
    if let Err(error) = Command::new("ip").args(args).output() {
        eprintln!("ip {}: {error}", args.join(" "));
    }
}
