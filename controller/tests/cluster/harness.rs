//! A cluster of controllers, and what tests ask of it.

use std::{
    future::Future,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Status, transport::Channel};
use wharf_cluster::level::Level;
use wharf_controller::{
    Controller, ControllerError,
    settings::{Settings, Start, Timings},
};
use wharf_identity::{ClientContext, CredentialsCell, connect};
use wharf_proto::v1::{
    self, GetRequest, Kind, Object, ShowTokenRequest, control_api_client::ControlApiClient, object,
};

/// The machine may have much else to do.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Fast enough for tests, slow enough for a machine that has other things to do.
pub const TIMINGS: Timings = Timings {
    heartbeat: Duration::from_millis(200),
    missed: 10,
    mass_loss_hold: Duration::from_secs(600),
    certificate_lifetime: Duration::from_secs(3600),
};

/// Waits until `probe` finds something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub type Client = ControlApiClient<Channel>;

/// Controllers of one cluster; the first made it.
pub struct Cluster {
    folder: TempDir,
    pub settings: Vec<Settings>,
    /// For those that are added.
    pub max_level: Level,
    members: Vec<Option<Controller>>,
}

impl Cluster {
    /// A cluster of so many controllers, all of them voters.
    pub async fn start(count: usize) -> Self {
        Self::with_timings(count, TIMINGS).await
    }

    pub async fn with_timings(count: usize, timings: Timings) -> Self {
        let mut cluster = Self::none();
        let contexts = vec![cluster.context_path()];
        cluster.add(Start::Bootstrap { contexts }, timings).await.unwrap();
        for _ in 1..count {
            cluster.join(timings).await;
        }
        cluster.wait_for_voters(count).await;
        cluster
    }

    /// A cluster that `founding` makes, the first entry of a log, with one controller of this level.
    pub async fn founded_by(founding: &[u8], max_level: Level) -> Self {
        let mut cluster = Self::none();
        cluster.max_level = max_level;
        let folder = cluster.folder().join("c1");
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        std::fs::write(folder.join("founding"), founding).unwrap();
        let contexts = vec![cluster.context_path()];
        cluster.add(Start::Bootstrap { contexts }, TIMINGS).await.unwrap();
        cluster
    }

    fn none() -> Self {
        // Shows what a failing test did; `RUST_LOG` says how much.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let folder = tempfile::tempdir().unwrap();
        Cluster { folder, settings: Vec::new(), max_level: Level::NEWEST, members: Vec::new() }
    }

    /// One more controller, which joins.
    pub async fn join(&mut self, timings: Timings) -> usize {
        self.try_join(timings).await.unwrap()
    }

    pub async fn try_join(&mut self, timings: Timings) -> Result<usize, ControllerError> {
        let token = self.token("controller").await.parse().unwrap();
        let addresses = self.addresses();
        self.add(Start::Join { addresses, token }, timings).await
    }

    /// Starts one more controller.
    pub async fn add(&mut self, start: Start, timings: Timings) -> Result<usize, ControllerError> {
        self.add_at(&format!("127.0.0.1:{}", free_port()), start, timings).await
    }

    pub async fn add_at(
        &mut self,
        address: &str,
        start: Start,
        timings: Timings,
    ) -> Result<usize, ControllerError> {
        let number = self.members.len() + 1;
        let settings = Settings {
            name: format!("c{number}"),
            listen: address.parse().unwrap(),
            advertise: address.to_owned(),
            data_dir: self.folder.path().join(format!("c{number}")),
            start,
            timings,
            max_level: self.max_level,
        };
        let controller = Controller::start(settings.clone()).await?;
        self.settings.push(settings);
        self.members.push(Some(controller));
        Ok(number - 1)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn context_path(&self) -> PathBuf {
        self.folder.path().join("admin.json")
    }

    pub fn context(&self) -> ClientContext {
        ClientContext::load(&self.context_path()).unwrap()
    }

    pub fn address(&self, member: usize) -> String {
        self.settings[member].advertise.clone()
    }

    /// Of those that run.
    pub fn addresses(&self) -> Vec<String> {
        self.running().map(|(number, _)| self.address(number)).collect()
    }

    pub fn running(&self) -> impl Iterator<Item = (usize, &Controller)> {
        self.members.iter().enumerate().filter_map(|(number, member)| Some((number, member.as_ref()?)))
    }

    pub fn controller(&self, member: usize) -> &Controller {
        self.members[member].as_ref().unwrap()
    }

    /// Takes a controller out of the tests' hands.
    pub fn take(&mut self, member: usize) -> Controller {
        self.members[member].take().unwrap()
    }

    /// Stops a controller without a word to the others.
    pub async fn kill(&mut self, member: usize) {
        self.take(member).abandon().await.unwrap();
    }

    /// Starts it again from its disk.
    pub async fn restart(&mut self, member: usize) {
        let controller = Controller::start(self.settings[member].clone()).await.unwrap();
        self.members[member] = Some(controller);
    }

    /// An admin's client of one controller.
    pub async fn client(&self, member: usize) -> Client {
        let cell = CredentialsCell::new(self.context().credentials().unwrap());
        let channel = connect(&self.address(member), &cell).await.unwrap();
        ControlApiClient::new(channel)
    }

    /// An admin's client of some controller that runs.
    pub async fn any_client(&self) -> Client {
        let (member, _) = self.running().next().unwrap();
        self.client(member).await
    }

    pub async fn token(&self, role: &str) -> String {
        let request = ShowTokenRequest { role: role.to_owned() };
        self.any_client().await.show_token(request).await.unwrap().into_inner().token
    }

    /// The controller that leads.
    pub async fn leader(&self) -> usize {
        eventually("a leader", || async {
            self.running().find(|(_, controller)| controller.core().leading()).map(|(number, _)| number)
        })
        .await
    }

    /// One that runs and doesn't lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.running().map(|(number, _)| number).find(|number| *number != leader).unwrap()
    }

    pub async fn wait_for_voters(&self, count: usize) {
        eventually("voters", || async {
            let mut client = self.any_client().await;
            let controllers = controllers(&mut client).await.ok()?;
            let voters = controllers
                .iter()
                .filter(|controller| matches!(controller.role.as_str(), "leader" | "voter"));
            (voters.filter(|voter| voter.reachable).count() == count && controllers.len() == count)
                .then_some(())
        })
        .await;
    }
}

/// A port that nothing listens on, outside the range that outgoing connections take theirs from: it has to stay free
/// while a controller is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 61;
        let port = 10_000 + (next % 20_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A new request id.
pub fn request_id() -> bytes::Bytes {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).unwrap();
    id.to_vec().into()
}

pub fn of_kind(kind: Kind) -> GetRequest {
    GetRequest { kind: kind.into(), ..GetRequest::default() }
}

pub async fn get(client: &mut Client, request: GetRequest) -> Result<Vec<Object>, Status> {
    Ok(client.get(request).await?.into_inner().objects)
}

pub async fn controllers(client: &mut Client) -> Result<Vec<v1::Controller>, Status> {
    let objects = get(client, of_kind(Kind::Controller)).await?;
    Ok(objects
        .into_iter()
        .map(|object| match object.object {
            Some(object::Object::Controller(controller)) => controller,
            other => panic!("not a controller: {other:?}"),
        })
        .collect())
}

pub async fn tasks(client: &mut Client, request: GetRequest) -> Result<Vec<v1::Task>, Status> {
    let objects = get(client, GetRequest { kind: Kind::Task.into(), ..request }).await?;
    Ok(objects
        .into_iter()
        .map(|object| match object.object {
            Some(object::Object::Task(task)) => task,
            other => panic!("not a task: {other:?}"),
        })
        .collect())
}

pub async fn nodes(client: &mut Client) -> Result<Vec<v1::Node>, Status> {
    let objects = get(client, of_kind(Kind::Node)).await?;
    Ok(objects
        .into_iter()
        .map(|object| match object.object {
            Some(object::Object::Node(node)) => node,
            other => panic!("not a node: {other:?}"),
        })
        .collect())
}

pub async fn services(client: &mut Client) -> Result<Vec<v1::Service>, Status> {
    let objects = get(client, of_kind(Kind::Service)).await?;
    Ok(objects
        .into_iter()
        .map(|object| match object.object {
            Some(object::Object::Service(service)) => service,
            other => panic!("not a service: {other:?}"),
        })
        .collect())
}

/// A stack `shop` with one service `web` of so many replicas.
pub fn shop(replicas: u32) -> v1::StackSpec {
    let container = v1::ContainerSpec { image: "registry/web:1".to_owned(), ..v1::ContainerSpec::default() };
    let template = v1::TaskTemplate {
        container: Some(container),
        restart: Some(v1::RestartPolicy { delay: 0, ..v1::RestartPolicy::default() }),
        ..v1::TaskTemplate::default()
    };
    let service = v1::ServiceSpec {
        mode: Some(v1::service_spec::Mode::Replicated(v1::Replicated { replicas })),
        template: Some(template),
        ..v1::ServiceSpec::default()
    };
    v1::StackSpec {
        name: "shop".to_owned(),
        services: [("web".to_owned(), service)].into(),
        ..v1::StackSpec::default()
    }
}

pub async fn apply(client: &mut Client, spec: v1::StackSpec) -> Result<v1::WriteResponse, Status> {
    let request =
        v1::ApplyStackRequest { request_id: request_id(), spec: Some(spec), expected_version: None };
    Ok(client.apply_stack(request).await?.into_inner())
}

/// Waits until so many tasks run, and returns them.
pub async fn running(client: &Client, count: usize) -> Vec<v1::Task> {
    eventually("running tasks", || async {
        let mut client = client.clone();
        let tasks = tasks(&mut client, GetRequest::default()).await.ok()?;
        let running: Vec<_> =
            tasks.into_iter().filter(|task| task.state == "running" && task.desired == "running").collect();
        (running.len() == count).then_some(running)
    })
    .await
}
