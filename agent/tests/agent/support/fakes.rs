//! A runtime, images and a network that a test is in control of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use wharf_agent::images::{ImageError, ImageSource};
use wharf_agent::network::{Attached, Network, NetworkError, Published};
use wharf_agent::reports::Reports;
use wharf_agent::store::Store;
use wharf_agent::task::Status as TaskStatus;
use wharf_agent::worker::{Change, Parts, Places, Worker};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{Port, TaskState};
use wharf_image::manifest::Descriptor;
use wharf_image::{Digest, ImageConfig, ImageRecord, Platform, PullError};
use wharf_proto::v1::{AssignedTask, Generation};
use wharf_runtime::api::{
    ContainerRuntime, CreateError, CreateRequest, ExecOutput, ExecSpec, Exit, Listed, RuntimeError, Started,
    Stats, Status,
};

use super::until;

/// What a container's command does, by its first word.
pub const MISSING: &str = "missing";

#[derive(Default)]
pub struct FakeRuntime {
    containers: Mutex<BTreeMap<String, Fake>>,
    /// How many were created.
    pub created: Mutex<Vec<CreateRequest>>,
    /// Signals that were sent, and the grace that went with them.
    pub stopped: Mutex<Vec<(String, i32, Duration)>>,
    /// What health checks say.
    pub check: Mutex<Option<ExecOutput>>,
    pub logs: Option<PathBuf>,
}

struct Fake {
    started: Started,
    exit: watch::Sender<Option<Exit>>,
}

fn exit(code: i32, signal: Option<i32>) -> Exit {
    let (started_at, finished_at) = (SystemTime::now(), SystemTime::now());
    Exit { code, signal, oom_killed: false, lost: false, started_at, finished_at }
}

impl FakeRuntime {
    /// Ends a container by itself.
    pub fn end(&self, task: u64, code: i32) {
        let containers = self.containers.lock();
        containers[&TaskId(task).to_string()].exit.send_replace(Some(exit(code, None)));
    }

    pub fn running(&self) -> Vec<String> {
        let containers = self.containers.lock();
        containers.iter().filter(|(_, one)| one.exit.borrow().is_none()).map(|(id, _)| id.clone()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.containers.lock().is_empty()
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn create(&self, request: CreateRequest) -> Result<Started, CreateError> {
        if request.spec.args[0] == MISSING {
            return Err(CreateError::Command(
                "exec: \"missing\": no such file in the container's PATH".into(),
            ));
        }
        let mut containers = self.containers.lock();
        let id = request.spec.id.clone();
        if containers.contains_key(&id) {
            return Err(CreateError::Exists(id));
        }
        let started = Started { pid: 1000 + containers.len() as i32, started_at: SystemTime::now() };
        containers.insert(id, Fake { started: started.clone(), exit: watch::Sender::default() });
        self.created.lock().push(request);
        Ok(started)
    }

    async fn signal(&self, _: &str, _: i32) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn stop(&self, id: &str, signal: i32, grace: Duration) -> Result<Exit, RuntimeError> {
        self.stopped.lock().push((id.to_owned(), signal, grace));
        if let Some(one) = self.containers.lock().get(id) {
            one.exit.send_if_modified(|now| {
                let runs = now.is_none();
                now.get_or_insert_with(|| exit(128 + signal, Some(signal)));
                runs
            });
        }
        self.wait(id).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        let ended = self.containers.lock().get(id).map(|one| one.exit.subscribe());
        let mut ended = ended.ok_or_else(|| RuntimeError::NotFound(id.to_owned()))?;
        let exit =
            ended.wait_for(Option::is_some).await.map_err(|_| RuntimeError::NotFound(id.to_owned()))?;
        Ok(exit.clone().unwrap())
    }

    async fn delete(&self, id: &str) -> Result<(), RuntimeError> {
        self.containers.lock().remove(id);
        Ok(())
    }

    async fn remove_logs(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let status = |one: &Fake| match &*one.exit.borrow() {
            Some(exit) => Status::Exited(exit.clone()),
            None => Status::Running(one.started.clone()),
        };
        Ok(self
            .containers
            .lock()
            .iter()
            .map(|(id, one)| Listed { id: id.clone(), status: status(one) })
            .collect())
    }

    async fn exec(&self, _: &str, _: ExecSpec, _: Duration) -> Result<ExecOutput, RuntimeError> {
        let said = self.check.lock().clone();
        Ok(said.unwrap_or(ExecOutput { code: Some(1), output: b"connection refused\n".to_vec() }))
    }

    async fn stats(&self, id: &str) -> Result<Stats, RuntimeError> {
        Err(RuntimeError::NotRunning(id.to_owned()))
    }

    fn log_path(&self, id: &str) -> PathBuf {
        self.logs.clone().unwrap_or_default().join(id).join("json.log")
    }

    fn runtime_names(&self) -> Vec<String> {
        vec!["wharf".into(), "runc".into()]
    }
}

/// Images of one node. `absent:1` isn't in its registry.
#[derive(Default)]
pub struct FakeImages {
    /// Pulls wait until this is true.
    pub open: watch::Sender<bool>,
    prepared: Mutex<BTreeSet<TaskId>>,
    pub config: Mutex<ImageConfig>,
}

#[async_trait]
impl ImageSource for FakeImages {
    async fn pull(&self, name: &str) -> Result<Arc<ImageRecord>, ImageError> {
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        if name == "absent:1" {
            let cause = PullError::NotHere(name.to_owned());
            return Err(ImageError::Pull { name: name.to_owned(), cause });
        }
        let digest = Digest::of(b"image");
        Ok(Arc::new(ImageRecord {
            name: name.parse().map_err(|cause| ImageError::Name { name: name.to_owned(), cause })?,
            target: digest,
            manifest: Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, 5),
            config_digest: digest,
            platform: Platform::host(),
            layers: Vec::new(),
            chain_ids: Vec::new(),
            unpacked: true,
            created: None,
            stored_at: 0,
            config: self.config.lock().clone(),
        }))
    }

    async fn prepare(&self, task: TaskId, _: &ImageRecord) -> Result<PathBuf, ImageError> {
        self.prepared.lock().insert(task);
        Ok(PathBuf::from("/rootfs"))
    }

    async fn remove(&self, task: TaskId) -> Result<(), ImageError> {
        self.prepared.lock().remove(&task);
        Ok(())
    }

    async fn prepared(&self) -> Result<Vec<(TaskId, bool)>, ImageError> {
        Ok(self.prepared.lock().iter().map(|task| (*task, true)).collect())
    }
}

/// A network in which port 80 of the node is taken.
#[derive(Default)]
pub struct FakeNetwork(Mutex<BTreeMap<TaskId, Attached>>);

#[async_trait]
impl Network for FakeNetwork {
    async fn attach(&self, task: TaskId, ports: &[Port]) -> Result<Attached, NetworkError> {
        if ports.iter().any(|port| port.published == Some(80)) {
            let by = "another program of the node".to_owned();
            return Err(NetworkError::PortTaken { port: 80, protocol: "tcp", by });
        }
        let published = |port: &Port| Published {
            host: None,
            protocol: port.protocol,
            published: port.published.unwrap_or(30_000),
            target: port.target,
        };
        let attached = Attached {
            netns: format!("/run/netns/{task}").into(),
            address: Ipv4Addr::new(10, 0, 0, 2),
            ports: ports.iter().map(published).collect(),
        };
        self.0.lock().insert(task, attached.clone());
        Ok(attached)
    }

    async fn detach(&self, task: TaskId) -> Result<(), NetworkError> {
        self.0.lock().remove(&task);
        Ok(())
    }

    fn attached(&self) -> BTreeMap<TaskId, Attached> {
        self.0.lock().clone()
    }

    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, 1)
    }
}

/// A node of fakes. Its worker can be made anew.
pub struct Node {
    pub dir: tempfile::TempDir,
    pub runtime: Arc<FakeRuntime>,
    pub images: Arc<FakeImages>,
    pub network: Arc<FakeNetwork>,
    pub reports: Arc<Reports>,
    pub store: Store,
    pub worker: Arc<Worker>,
    sequence: Mutex<u64>,
}

impl Node {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Arc::new(FakeRuntime { logs: Some(dir.path().join("logs")), ..FakeRuntime::default() });
        let (images, network) = (Arc::new(FakeImages::default()), Arc::new(FakeNetwork::default()));
        images.open.send_replace(true);
        images.config.lock().cmd = vec!["serve".into()];
        Self::over(dir, "db", runtime, images, network).await
    }

    /// Its agent is started again, and has lost its database.
    pub async fn forgetting(self) -> Self {
        let Node { dir, runtime, images, network, .. } = self;
        Self::over(dir, "new", runtime, images, network).await
    }

    async fn over(
        dir: tempfile::TempDir,
        store: &str,
        runtime: Arc<FakeRuntime>,
        images: Arc<FakeImages>,
        network: Arc<FakeNetwork>,
    ) -> Self {
        let store = Store::open(&dir.path().join(store)).unwrap();
        let reports = Arc::new(Reports::new(store.statuses().unwrap()));
        let parts = Parts {
            runtime: runtime.clone(),
            images: images.clone(),
            network: network.clone(),
            store: store.clone(),
            reports: reports.clone(),
            places: places(dir.path()),
        };
        let worker = Worker::start(parts).await.unwrap();
        Node { dir, runtime, images, network, reports, store, worker, sequence: Mutex::new(0) }
    }

    pub async fn assign(&self, tasks: &[AssignedTask]) {
        let generation = {
            let mut sequence = self.sequence.lock();
            *sequence += 1;
            Generation { term: 1, session: 1, sequence: *sequence }
        };
        let change = Change { generation, full: true, tasks: tasks.to_vec(), removed: Vec::new() };
        self.worker.assign(change).await.unwrap();
    }

    pub fn status(&self, task: u64) -> Option<TaskStatus> {
        self.reports.get(TaskId(task))
    }

    pub async fn reach(&self, task: u64, state: TaskState) -> TaskStatus {
        let mut seen = None;
        until(&format!("task {task} to be {state}"), || {
            seen = self.status(task);
            assert!(
                seen.as_ref()
                    .is_none_or(|now| now.state <= state && (!now.state.is_final() || now.state == state)),
                "task {task} is to become {state}, and is {seen:?}"
            );
            seen.as_ref().is_some_and(|status| status.state == state)
        })
        .await;
        seen.unwrap()
    }

    /// Waits until nothing that a task used is left.
    pub async fn cleaned(&self) {
        until("everything to be cleaned", || {
            self.runtime.is_empty()
                && self.images.prepared.lock().is_empty()
                && self.network.0.lock().is_empty()
        })
        .await;
    }
}

fn places(dir: &Path) -> Places {
    Places {
        volumes: dir.join("volumes"),
        files: dir.join("tasks"),
        resolv_conf: dir.join("resolv.conf"),
        hosts: dir.join("hosts"),
        cgroup_parent: "/wharf/test.1".into(),
        node: "node-1".into(),
    }
}
