//! Three members of etcd 3.4 on loopback, as Debian packages it, with TLS of the same kind as ours: the same authority's
//! code, the same keys, clients and peers both with certificates.

use crate::{
    clusters::{To, free_port},
    connection::Connection,
    controllers::eventually,
};
use anyhow::{Context, bail};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use v3::{StatusRequest, kv_client::KvClient, maintenance_client::MaintenanceClient};
use wharf_identity::{
    Authority, Credentials, CredentialsCell, Identity, KeyAndRequest, Role, SubjectName, connect,
};
use wharf_tests::Process;

/// etcd's API.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v3 {
    tonic::include_proto!("etcdserverpb");
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Three members. Everything of them goes when this does.
pub struct Etcd {
    members: Vec<Process>,
    addresses: Vec<String>,
    /// `None` without TLS.
    cell: Option<CredentialsCell>,
    _folder: TempDir,
}

impl Etcd {
    /// Three members with a leader, with their data in a folder in `dir`.
    pub async fn start(dir: &Path, tls: bool) -> anyhow::Result<Self> {
        let version = Command::new("etcd").arg("--version").output();
        let version = version.context("etcd can't be run: apt-get install etcd-server")?;
        let version = String::from_utf8_lossy(&version.stdout);
        if !version.contains("etcd Version: 3.4.") {
            println!("note: the comparison is meant for etcd 3.4; this is {}", version.trim());
        }
        let folder = tempfile::tempdir_in(dir).context("no folder for etcd can be made")?;
        let cell = if tls { Some(certificates(folder.path())?) } else { None };
        let scheme = if tls { "https" } else { "http" };
        let address = || format!("127.0.0.1:{}", free_port());
        let addresses: Vec<String> = (0..3).map(|_| address()).collect();
        let peers: Vec<String> = (0..3).map(|_| format!("{scheme}://{}", address())).collect();
        let all: Vec<String> =
            peers.iter().enumerate().map(|(index, url)| format!("e{}={url}", index + 1)).collect();
        let mut members = Vec::new();
        for (index, peer) in peers.iter().enumerate() {
            let name = format!("e{}", index + 1);
            let client = format!("{scheme}://{}", addresses[index]);
            let mut command = Command::new("etcd");
            command.args(["--name", &name, "--initial-cluster", &all.join(",")]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
            command.args(["--logger", "zap", "--log-level", "error", "--data-dir"]);
            command.arg(folder.path().join(&name));
            if tls {
                for prefix in ["--", "--peer-"] {
                    command.arg(format!("{prefix}client-cert-auth"));
                    for (flag, file) in
                        [("trusted-ca-file", "ca.pem"), ("cert-file", "cert.pem"), ("key-file", "key.pem")]
                    {
                        command.arg(format!("{prefix}{flag}")).arg(folder.path().join(file));
                    }
                }
            }
            members.push(Process::run(command, &folder.path().join(format!("{name}.log"))));
        }
        let etcd = Etcd { members, addresses, cell, _folder: folder };
        etcd.leader().await?;
        Ok(etcd)
    }

    async fn channel(&self, index: usize) -> anyhow::Result<Channel> {
        let address = &self.addresses[index];
        match &self.cell {
            Some(cell) => Ok(connect(address, cell).await?),
            None => Ok(Endpoint::from_shared(format!("http://{address}"))?.connect().await?),
        }
    }

    /// So many connections.
    pub async fn connections(&self, to: To, number: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for index in to.members(self.leader().await?, number) {
            connections.push(Connection::Etcd(KvClient::new(self.channel(index).await?)));
        }
        Ok(connections)
    }

    /// The processes.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Process::pid).collect()
    }

    async fn leader(&self) -> anyhow::Result<usize> {
        eventually("etcd's leader", async || {
            for index in 0..self.addresses.len() {
                let mut client = MaintenanceClient::new(self.channel(index).await?);
                let status = client.status(StatusRequest {}).await?.into_inner();
                if status.header.is_some_and(|header| header.member_id == status.leader) {
                    return Ok(index);
                }
            }
            bail!("none leads")
        })
        .await
    }
}

/// Writes the members' certificate and key, and gives an admin's.
fn certificates(folder: &Path) -> anyhow::Result<CredentialsCell> {
    let now = SystemTime::now();
    let authority = Authority::create("etcd", now)?;
    let issue = |role, names: &[SubjectName]| {
        let key = KeyAndRequest::generate()?;
        let identity = Identity::new(authority.cluster(), role, "bench")?;
        let certificate = authority.issue(&key.csr_pem, &identity, names, now, DAY)?;
        anyhow::Ok((certificate, key.key_pem))
    };
    // Our own dialer asks for a controller's name; etcd's members among each other ask for the address.
    let (certificate, key) = issue(Role::Controller, &["127.0.0.1".parse()?])?;
    let texts = [("ca.pem", authority.certificate_pem()), ("cert.pem", &*certificate), ("key.pem", &*key)];
    for (name, text) in texts {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let (certificate, key) = issue(Role::Admin, &[])?;
    Ok(CredentialsCell::new(Credentials::from_pem(authority.certificate_pem(), &certificate, &key)?))
}
