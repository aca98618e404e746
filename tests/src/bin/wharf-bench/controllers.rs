//! Three controllers on loopback, each a process of its own.

use crate::{
    clusters::{To, free_port},
    connection::{Connection, node},
};
use anyhow::{Context, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::transport::Channel;
use wharf_identity::{
    ClientContext, CredentialsCell, IdentityFolder, JoinDetails, JoinToken, Role, channel, connect, join,
};
use wharf_proto::v1::{
    self, GetRequest, Kind, ShowTokenRequest, control_api_client::ControlApiClient, object::Object,
};
use wharf_tests::{Process, programs};

/// How long a cluster may take to come up, or to settle.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A client of a controller.
pub type Client = ControlApiClient<Channel>;

/// Three controllers. Everything of them goes when this does.
pub struct Controllers {
    members: Vec<Option<Process>>,
    addresses: Vec<String>,
    cell: CredentialsCell,
    folder: TempDir,
}

impl Controllers {
    /// Three voters, with their data in a folder in `dir`.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(dir).context("no folder for the controllers can be made")?;
        let addresses: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let admin = folder.path().join("admin.json");
        let first = run(folder.path(), &addresses, 0, None);
        let context = eventually("the admin's context", async || {
            ClientContext::load(&admin).context("it is not there")
        })
        .await?;
        let cell = CredentialsCell::new(context.credentials()?);
        let mut cluster = Controllers { members: vec![Some(first)], addresses, cell, folder };
        let token = eventually("the first controller", async || cluster.token("controller").await).await?;
        for index in 1..cluster.addresses.len() {
            let process = run(cluster.folder.path(), &cluster.addresses, index, Some(&token));
            cluster.members.push(Some(process));
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    async fn token(&self, role: &str) -> anyhow::Result<String> {
        let request = ShowTokenRequest { role: role.to_owned() };
        Ok(self.client(0).await?.show_token(request).await?.into_inner().token)
    }

    /// A client with a connection of its own to a controller.
    pub async fn client(&self, index: usize) -> anyhow::Result<Client> {
        Ok(ControlApiClient::new(connect(&self.addresses[index], &self.cell).await?))
    }

    /// As [`Controllers::client`], but it connects when it is used, and again when it has to.
    pub fn lazy_client(&self, index: usize) -> anyhow::Result<Client> {
        Ok(ControlApiClient::new(channel(&self.addresses[index], &self.cell)?))
    }

    /// So many connections.
    pub async fn connections(&self, to: To, number: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for index in to.members(self.leader().await?, number) {
            connections.push(Connection::Wharf(self.client(index).await?));
        }
        Ok(connections)
    }

    /// The processes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().flatten().map(Process::pid).collect()
    }

    /// Makes a node for each of so many clients: an agent that has joined and never comes.
    pub async fn add_nodes(&self, number: usize) -> anyhow::Result<()> {
        let token: JoinToken = self.token("agent").await?.parse()?;
        let leader = self.leader().await?;
        let address = [self.addresses[leader].clone()];
        let folder = IdentityFolder::new(self.folder.path().join("agent"));
        for number in 0..number {
            let details = JoinDetails {
                role: Role::Agent,
                name: node(number),
                advertise_address: String::new(),
                names: Vec::new(),
                description: None,
                level: 0,
            };
            join(&address, &token, details, &folder).await.context("a node can't join")?;
        }
        Ok(())
    }

    /// Index of the leader.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        eventually("a leader", async || {
            let leader = self.list().await?.into_iter().find(|one| one.role == "leader");
            let leader = leader.context("none leads")?;
            let known = self.addresses.iter().position(|address| *address == leader.address);
            known.context("the leader is not one of ours")
        })
        .await
    }

    /// Waits until all three vote and are reached.
    pub async fn settled(&self) -> anyhow::Result<()> {
        eventually("three voters", async || {
            let all = self.list().await?;
            let good = all.iter().filter(|one| one.role != "learner" && one.reachable).count();
            if good == self.addresses.len() { Ok(()) } else { bail!("{good} are there and vote") }
        })
        .await
    }

    async fn list(&self) -> anyhow::Result<Vec<v1::Controller>> {
        let mut running = (0..self.members.len()).filter(|index| self.members[*index].is_some());
        let mut client = self.client(running.next().context("no controller runs")?).await?;
        let request = GetRequest { kind: Kind::Controller.into(), ..GetRequest::default() };
        let objects = client.get(request).await?.into_inner().objects;
        Ok(objects
            .into_iter()
            .filter_map(|object| match object.object {
                Some(Object::Controller(controller)) => Some(controller),
                _ => None,
            })
            .collect())
    }

    /// Kills a controller as a crash would.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].take() {
            process.kill();
        }
    }

    /// Starts a controller that was killed.
    pub fn restart(&mut self, index: usize) {
        self.members[index] = Some(run(self.folder.path(), &self.addresses, index, None));
    }
}

/// Starts a controller: with a token it joins the first one, which else makes the cluster; with data it goes on.
fn run(folder: &Path, addresses: &[String], index: usize, token: Option<&str>) -> Process {
    let name = format!("c{}", index + 1);
    let data_dir: PathBuf = folder.join(&name);
    let mut command = Command::new(programs().join("wharf-controller"));
    command.args(["--name", &name, "--listen", &addresses[index], "--log", "warn"]);
    command.arg("--data-dir").arg(data_dir);
    if index == 0 {
        command.arg("--bootstrap").arg("--admin-context").arg(folder.join("admin.json"));
    } else {
        command.args(["--join", &addresses[0]]).envs(token.map(|token| ("WHARF_TOKEN", token)));
    }
    Process::run(command, &folder.join(format!("{name}.log")))
}

/// Tries until it succeeds, or patience ends.
pub async fn eventually<T>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("not within {} s: {what}", PATIENCE.as_secs())));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
