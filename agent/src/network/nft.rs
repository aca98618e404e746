//! The packet filter's table of one bridge: masquerading for what goes out, and maps from published ports to containers.
//! The table is written once, and its maps are changed element by element, many at a time.

use std::fmt::Write as _;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

use super::address::Subnet;
use super::ports::word;
use super::{Attached, NetworkError};

/// Changes that wait while `nft` runs.
const QUEUE: usize = 256;

/// The text that makes the table anew, with these tasks' ports in it.
pub(super) fn table<'a>(
    bridge: &str,
    subnet: Subnet,
    attached: impl Iterator<Item = &'a Attached>,
) -> String {
    let mut text = format!(
        "table ip {bridge}\ndelete table ip {bridge}\n\
table ip {bridge} {{
  map published {{
    type inet_proto . inet_service : ipv4_addr . inet_service
  }}
  map published_on {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }}
  chain publish {{
    dnat ip to ip daddr . meta l4proto . th dport map @published_on
    dnat ip to meta l4proto . th dport map @published
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != \"{bridge}\" masquerade
    oifname \"{bridge}\" ip saddr 127.0.0.0/8 masquerade
    oifname \"{bridge}\" ip saddr {subnet} ct status dnat masquerade
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
  }}
}}\n"
    );
    for one in attached {
        text.push_str(&elements(bridge, "add", one));
    }
    text
}

/// The text that adds or deletes a task's ports; empty if it has none.
pub(super) fn elements(bridge: &str, verb: &str, attached: &Attached) -> String {
    let mut text = String::new();
    for port in &attached.ports {
        let protocol = word(port.protocol);
        let (map, key) = match port.host {
            None => ("published", format!("{protocol} . {}", port.published)),
            Some(host) => ("published_on", format!("{host} . {protocol} . {}", port.published)),
        };
        let value = format!("{} . {}", attached.address, port.target);
        // Writing to a string can't fail.
        let _ = writeln!(text, "{verb} element ip {bridge} {map} {{ {key} : {value} }}");
    }
    text
}

/// The text that takes the table away.
pub(super) fn no_table(bridge: &str) -> String {
    format!("table ip {bridge}\ndelete table ip {bridge}\n")
}

/// Runs `nft` on a text, all of it or nothing.
pub(super) async fn run(text: &str) -> Result<(), NetworkError> {
    let failed = |what: &str, error: std::io::Error| NetworkError::Filter(format!("{what}: {error}"));
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed("can't start it (the package nftables has it)", error))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).await.map_err(|error| failed("can't write to it", error))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed("can't wait for it", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NetworkError::Filter(said.lines().next().unwrap_or("it failed without a word").to_owned()))
}

/// A change that waits.
struct Change {
    text: String,
    done: oneshot::Sender<Result<(), NetworkError>>,
}

/// Changes the table: what comes while `nft` runs goes together in the next run.
#[derive(Debug, Clone)]
pub(super) struct Filter(mpsc::Sender<Change>);

impl Filter {
    pub(super) fn start() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(serve(receiver));
        Filter(sender)
    }

    pub(super) async fn change(&self, text: String) -> Result<(), NetworkError> {
        if text.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.0.send(Change { text, done }).await.map_err(|_| NetworkError::Stopped)?;
        answer.await.map_err(|_| NetworkError::Stopped)?
    }
}

async fn serve(mut changes: mpsc::Receiver<Change>) {
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, QUEUE).await > 0 {
        let all: String = batch.iter().map(|change| change.text.as_str()).collect();
        let together = run(&all).await;
        let alone = batch.len() == 1;
        for change in batch.drain(..) {
            let result = match &together {
                Ok(()) => Ok(()),
                Err(NetworkError::Filter(said)) if alone => Err(NetworkError::Filter(said.clone())),
                // One of them is wrong, and the others are not to suffer for it.
                Err(_) => run(&change.text).await,
            };
            // Whoever asked may have gone.
            let _ = change.done.send(result);
        }
    }
}
