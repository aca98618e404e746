//! A node with the real runtime, images and network, in a folder and a network namespace of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_agent::images::NodeImages;
use wharf_agent::network::bridge::{Bridge, BridgeOptions};
use wharf_agent::reports::Reports;
use wharf_agent::store::Store;
use wharf_agent::task::Status;
use wharf_agent::worker::{Change, Parts, Places, Worker};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::TaskState;
use wharf_image::{ImageConfig, Images, ImagesOptions, ImportSource, ImportSpec};
use wharf_proto::v1::{AssignedTask, ContainerSpec, Generation};
use wharf_runtime::client::{Shims, ShimsConfig};
use wharf_runtime::host::HostFacts;
use wharf_runtime::runtimes::Runtimes;

use super::until;

/// The image that every node of this kind has.
pub const IMAGE: &str = "localhost/busybox:1";

/// A node's folders. An agent on them can be dropped and begun anew.
pub struct Node {
    pub dir: tempfile::TempDir,
    cgroup_parent: String,
}

/// An agent's worker on a node.
pub struct Agent {
    pub worker: Arc<Worker>,
    pub reports: Arc<Reports>,
    pub bridge: Arc<Bridge>,
    sequence: u64,
    runtime: tokio::runtime::Runtime,
}

impl Node {
    pub async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("wharf-agent-").tempdir().unwrap();
        let cgroup_parent = format!("/wharf-test/{}", dir.path().file_name().unwrap().to_str().unwrap());
        let node = Node { dir, cgroup_parent };
        let images = node.images();
        let rootfs = node.dir.path().join("busybox");
        make_rootfs(&rootfs);
        let config =
            ImageConfig { env: vec!["PATH=/bin".into()], cmd: vec!["sh".into()], ..ImageConfig::default() };
        let spec = ImportSpec { config, ..ImportSpec::default() };
        let source = ImportSource::Folder { path: rootfs, owner: Some((0, 0)) };
        images.import(source, spec, &IMAGE.parse().unwrap()).await.unwrap();
        node
    }

    fn images(&self) -> Images {
        Images::open(ImagesOptions::for_running(self.dir.path().join("data/images"))).unwrap()
    }

    /// An agent as if just started. Its tasks run in a runtime of their own, so that dropping it is like kill -9.
    pub async fn agent(&self) -> Agent {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let path = self.dir.path();
        let (data, run_dir) = (path.join("data"), path.join("run"));
        std::fs::create_dir_all(&run_dir).unwrap();
        let shims = Shims::new(ShimsConfig {
            shim: shim(),
            run_dir: run_dir.join("containers"),
            log_dir: data.join("logs"),
            runtimes: Runtimes::default(),
            host: HostFacts::detect().unwrap(),
        })
        .unwrap();
        let store = Store::open(&data.join("db")).unwrap();
        let reports = Arc::new(Reports::new(store.statuses().unwrap()));
        let places = Places {
            volumes: data.join("volumes"),
            files: run_dir.join("tasks"),
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            cgroup_parent: self.cgroup_parent.clone(),
            node: "node-1".into(),
        };
        let (images, told) = (self.images(), reports.clone());
        let begin = async move {
            let options = BridgeOptions { name: "wharf0".into(), subnet: None, run_dir };
            let bridge = Arc::new(Bridge::open(options).await.unwrap());
            let parts = Parts {
                runtime: Arc::new(shims),
                images: Arc::new(NodeImages::new(images)),
                network: bridge.clone(),
                store,
                reports: told,
                places,
            };
            (Worker::start(parts).await.unwrap(), bridge)
        };
        let (worker, bridge) = runtime.spawn(begin).await.unwrap();
        let sequence = worker.held().sequence;
        Agent { worker, reports, bridge, sequence, runtime }
    }

    /// No process, mount, cgroup or file of any task is left.
    pub fn assert_clean(&self) {
        let own = self.dir.path().to_str().unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(own)).collect();
        assert!(left.is_empty(), "mounts are left: {left:#?}");
        for folder in ["run/tasks", "run/netns", "run/network", "data/logs", "data/volumes/.anonymous"] {
            assert_eq!(names(&self.dir.path().join(folder)), Vec::<String>::new(), "{folder}");
        }
        let containers = names(&self.dir.path().join("run/containers"));
        assert!(containers.iter().all(|name| name.starts_with('.')), "{containers:?}");
        for mount in HostFacts::detect().unwrap().cgroup_mounts {
            let parent = mount.path.join(&self.cgroup_parent[1..]);
            let left: Vec<String> =
                names(&parent).into_iter().filter(|name| parent.join(name).is_dir()).collect();
            assert!(left.is_empty(), "cgroups are left in {}: {left:?}", parent.display());
        }
    }

    /// A file of the root filesystem of a task.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for mount in HostFacts::detect().into_iter().flat_map(|facts| facts.cgroup_mounts) {
            let parent = mount.path.join(&self.cgroup_parent[1..]);
            let _ = std::fs::remove_dir(&parent);
            let _ = std::fs::remove_dir(parent.parent().unwrap());
        }
    }
}

impl Agent {
    /// Ends the agent's process, as far as a test can: nothing it was doing goes on, nothing is tidied up.
    pub async fn kill(self) {
        let Agent { worker, bridge, runtime, .. } = self;
        runtime.shutdown_background();
        // The folders' locks go with the last of these.
        until("the killed agent's end", || {
            Arc::strong_count(&worker) == 1 && Arc::strong_count(&bridge) == 2
        })
        .await;
    }

    pub async fn assign(&mut self, tasks: Vec<AssignedTask>) {
        self.sequence += 1;
        let generation = Generation { term: 1, session: 1, sequence: self.sequence };
        let change = Change { generation, full: true, tasks, removed: Vec::new() };
        let worker = self.worker.clone();
        self.runtime.spawn(async move { worker.assign(change).await }).await.unwrap().unwrap();
    }

    pub fn status(&self, task: u64) -> Option<Status> {
        self.reports.get(TaskId(task))
    }

    pub async fn reach(&self, task: u64, state: TaskState) -> Status {
        let mut seen = None;
        until(&format!("task {task} to be {state}"), || {
            seen = self.status(task);
            let state_now = seen.as_ref().map(|status| status.state);
            assert!(
                state_now.is_none_or(|now| now <= state && (!now.is_final() || now == state)),
                "task {task} is to become {state}, and is {seen:?}"
            );
            state_now == Some(state)
        })
        .await;
        seen.unwrap()
    }

    /// Waits until nothing of any task is there.
    pub async fn empty(&self) {
        until("all tasks to be forgotten", || self.worker.states().is_empty()).await;
    }
}

/// A task that runs a shell script.
pub fn script(id: u64, script: &str) -> AssignedTask {
    let words = ["sh", "-c", script].map(str::to_owned).into();
    task(
        id,
        ContainerSpec {
            image: IMAGE.into(),
            command: Some(wharf_proto::v1::StringList { items: words }),
            stop_grace_period: 300,
            ..ContainerSpec::default()
        },
    )
}

pub fn task(id: u64, container: ContainerSpec) -> AssignedTask {
    AssignedTask {
        id: TaskId(id).to_string(),
        name: format!("shop/web.{id}"),
        stack: "shop".into(),
        service: "shop/web".into(),
        slot: u32::try_from(id).unwrap(),
        desired: "running".into(),
        container: Some(container),
        ..AssignedTask::default()
    }
}

/// The same task, to go as far as `desired`.
pub fn desired(task: &AssignedTask, desired: &str) -> AssignedTask {
    AssignedTask { desired: desired.into(), ..task.clone() }
}

/// The shim beside the programs that cargo built.
fn shim() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("wharf-shim");
    assert!(path.exists(), "{} is missing: run `cargo build -p wharf-runtime`", path.display());
    path
}

fn make_rootfs(rootfs: &Path) {
    for name in ["bin", "etc", "tmp", "data"] {
        std::fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("install busybox-static");
    for name in super::run("/bin/busybox", &["--list"]).lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    std::fs::write(rootfs.join("data/greeting"), "from the image\n").unwrap();
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
