//! A scripted agent: it joins, keeps a session, and says that it does what it is told.

use crate::harness::{Cluster, eventually, nodes};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wharf_identity::{CredentialsCell, Dialer, IdentityFolder, JoinDetails, Role, connect, join};
use wharf_proto::v1::{
    AgentMessage, AssignedTask, ControllerMessage, Generation, Heartbeat, Hello, LogEntry, NodeDescription,
    OpenStream, Platform, StreamData, TaskReport, TaskReports, agent_api_client::AgentApiClient,
    agent_message::Message as Says, controller_message::Message as Told, stream_data::Data,
};

/// What an agent has seen.
#[derive(Default)]
pub struct Seen {
    /// What it holds.
    pub held: BTreeMap<String, AssignedTask>,
    /// Generation of what it holds.
    pub generation: Option<Generation>,
    /// Sessions that were welcomed.
    pub sessions: u32,
    /// Full assignments, and differences.
    pub full: u32,
    pub differences: u32,
    /// The highest acknowledged reports.
    pub taken: u64,
    /// Addresses of controllers that it was told.
    pub controllers: Vec<String>,
    /// How the last session ended.
    pub ended: Option<Status>,
    reports: u64,
}

/// How an agent behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Mood {
    /// Does all that it should.
    Willing,
    /// Holds its session, and says nothing.
    Silent,
    /// Is cut off.
    Gone,
}

pub struct Agent {
    pub cell: CredentialsCell,
    pub seen: Arc<Mutex<Seen>>,
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn description(name: &str) -> NodeDescription {
    NodeDescription {
        hostname: name.to_owned(),
        platform: Some(Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() }),
        nano_cpus: 4_000_000_000,
        memory: 8 << 30,
        cgroups: "v2".to_owned(),
        runtimes: vec!["wharf".to_owned()],
        ..NodeDescription::default()
    }
}

impl Agent {
    /// Joins, and begins to keep a session with whoever leads.
    pub async fn start(cluster: &Cluster, name: &str) -> Self {
        let token = cluster.token("agent").await.parse().unwrap();
        let folder = IdentityFolder::new(cluster.folder().join(name));
        let details = JoinDetails {
            role: Role::Agent,
            name: name.to_owned(),
            advertise_address: String::new(),
            names: Vec::new(),
            description: Some(description(name)),
            level: 0,
        };
        let joined = join(&cluster.addresses(), &token, details, &folder).await.unwrap();
        let cell = CredentialsCell::new(joined.credentials);
        let dialer = Dialer::new(cluster.addresses(), cell.clone());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (mood, moods) = watch::channel(Mood::Willing);
        let task = tokio::spawn(keep(name.to_owned(), dialer, cell.clone(), seen.clone(), moods));
        let agent = Agent { cell, seen, mood, task };
        agent.wait("a session", |seen| seen.full > 0).await;
        eventually("a ready node", || async {
            let nodes = nodes(&mut cluster.any_client().await).await.ok()?;
            nodes.iter().any(|node| node.name == name && node.state == "ready").then_some(())
        })
        .await;
        agent
    }

    pub fn behave(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub async fn wait(&self, what: &str, ready: impl Fn(&Seen) -> bool) {
        eventually(what, || async { ready(&self.seen.lock()).then_some(()) }).await;
    }
}

async fn keep(
    name: String,
    dialer: Dialer,
    cell: CredentialsCell,
    seen: Arc<Mutex<Seen>>,
    mut moods: watch::Receiver<Mood>,
) {
    loop {
        if moods.wait_for(|mood| *mood != Mood::Gone).await.is_err() {
            return;
        }
        let ended = tokio::select! {
            ended = session(&name, &dialer, &cell, &seen, moods.clone()) => ended,
            _ = async { moods.clone().wait_for(|mood| *mood == Mood::Gone).await.map(drop) } => Ok(()),
        };
        if let Err(status) = ended {
            seen.lock().ended = Some(status);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn session(
    name: &str,
    dialer: &Dialer,
    cell: &CredentialsCell,
    seen: &Arc<Mutex<Seen>>,
    moods: watch::Receiver<Mood>,
) -> Result<(), Status> {
    let connected = dialer.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (says, stream) = mpsc::channel(16);
    let held = seen.lock().generation;
    let hello = Hello { description: Some(description(name)), held };
    say(&says, Says::Hello(hello)).await?;
    let mut client = AgentApiClient::new(connected.channel.clone());
    let mut told = client.session(ReceiverStream::new(stream)).await?.into_inner();
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = beat.tick() => if *moods.borrow() != Mood::Silent {
                let sequence = seen.lock().generation.map_or(0, |generation| generation.sequence);
                say(&says, Says::Heartbeat(Heartbeat { sequence, interval: 200 })).await?;
            },
            message = told.message() => {
                let Some(ControllerMessage { message: Some(message) }) = message? else { return Ok(()) };
                let redirected = matches!(message, Told::Redirect(_));
                match &message {
                    Told::Redirect(to) if to.leader.is_empty() => dialer.demote(&connected.address),
                    Told::Redirect(to) => dialer.prefer(&to.leader),
                    Told::OpenStream(asked) => {
                        tokio::spawn(answer(connected.address.clone(), cell.clone(), asked.clone()));
                    }
                    Told::Controllers(all) => dialer.set_addresses(all.addresses.clone()),
                    _ => {}
                }
                let reports = follow(&mut seen.lock(), message, *moods.borrow() == Mood::Willing);
                if let Some(reports) = reports {
                    say(&says, Says::Reports(reports)).await?;
                }
                if redirected {
                    return Ok(());
                }
            }
        }
    }
}

async fn say(says: &mpsc::Sender<AgentMessage>, message: Says) -> Result<(), Status> {
    says.send(AgentMessage { message: Some(message) })
        .await
        .map_err(|_| Status::unavailable("the stream ended"))
}

/// Does what it is told, and what there is to say of it.
fn follow(seen: &mut Seen, message: Told, willing: bool) -> Option<TaskReports> {
    let mut changed = Vec::new();
    match message {
        Told::Welcome(_) => seen.sessions += 1,
        Told::Full(full) => {
            seen.full += 1;
            assert!(newer(full.generation, seen.generation), "an older assignment");
            seen.generation = full.generation;
            seen.held = full.tasks.iter().map(|task| (task.id.clone(), task.clone())).collect();
            changed = full.tasks;
        }
        Told::Difference(difference) => {
            seen.differences += 1;
            let (now, before) = (difference.generation.unwrap(), seen.generation.unwrap());
            assert_eq!(
                (now.term, now.session, now.sequence),
                (before.term, before.session, before.sequence + 1)
            );
            seen.generation = Some(now);
            for id in difference.removed {
                seen.held.remove(&id);
            }
            seen.held.extend(difference.tasks.iter().map(|task| (task.id.clone(), task.clone())));
            changed = difference.tasks;
        }
        Told::ReportsTaken(taken) => seen.taken = taken.sequence,
        Told::Controllers(all) => seen.controllers = all.addresses,
        Told::Redirect(_) | Told::OpenStream(_) | Told::HeartbeatTaken(_) | Told::Pace(_) => {}
    }
    if !willing || changed.is_empty() {
        return None;
    }
    seen.reports += 1;
    Some(TaskReports { sequence: seen.reports, reports: changed.iter().map(report).collect() })
}

fn newer(now: Option<Generation>, before: Option<Generation>) -> bool {
    let key = |generation: Option<Generation>| generation.map(|g| (g.term, g.session, g.sequence));
    key(now) > key(before)
}

pub fn report(task: &AssignedTask) -> TaskReport {
    let state = match task.desired.as_str() {
        "ready" => "ready",
        "running" => "running",
        _ => "shutdown",
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    TaskReport {
        task: task.id.clone(),
        state: state.to_owned(),
        at: now.as_millis() as u64,
        pid: (state == "running").then_some(1),
        ..TaskReport::default()
    }
}

/// Two lines for every task, one a second after the other.
async fn answer(address: String, cell: CredentialsCell, asked: OpenStream) {
    let Some(wharf_proto::v1::open_stream::What::Logs(logs)) = asked.what else { return };
    let channel = connect(&address, &cell).await.unwrap();
    let (says, stream) = mpsc::channel(4);
    let base: u64 = logs.task.bytes().map(u64::from).sum();
    let line = |at: u64| LogEntry {
        stream: "stdout".to_owned(),
        at: base + at * 1_000_000_000,
        line: format!("line {at} of {}", logs.task).into_bytes().into(),
        ..LogEntry::default()
    };
    for data in [Data::StreamId(asked.stream_id), Data::Log(line(1)), Data::Log(line(2))] {
        says.send(StreamData { data: Some(data) }).await.unwrap();
    }
    drop(says);
    let answered = AgentApiClient::new(channel).answer(ReceiverStream::new(stream)).await;
    if let Ok(response) = answered {
        let mut inbound = response.into_inner();
        while let Ok(Some(_)) = inbound.message().await {}
    }
}
