//! A node for tests: a root filesystem made from the machine's busybox, and shims in a directory of their own.

#![allow(dead_code, reason = "every test program uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that this belongs to tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wharf_runtime::api::{ContainerRuntime, CreateError, CreateRequest, Exit, LogOptions, Started};
use wharf_runtime::client::{Shims, ShimsConfig};
use wharf_runtime::host::HostFacts;
use wharf_runtime::runtimes::Runtimes;
use wharf_runtime::spec::ContainerSpec;

const RUNC: &str = "/usr/sbin/runc";
pub const DEADLINE: Duration = Duration::from_secs(30);

/// All runtimes that the same cases must pass with.
pub const RUNTIMES: [&str; 2] = ["wharf", "runc"];

pub struct Node {
    pub shims: Shims,
    pub rootfs: PathBuf,
    pub host: HostFacts,
    pub dir: tempfile::TempDir,
    pub runtime: &'static str,
    cgroup_parent: String,
}

/// What a container that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

impl Node {
    pub fn new(runtime: &'static str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test must be run as root");
        assert!(Path::new(RUNC).exists(), "install runc: the tests compare with it");
        let dir = tempfile::Builder::new().prefix("wharf-runtime-").tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        make_rootfs(&rootfs);
        let host = HostFacts::detect().unwrap();
        let unique = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let shims = shims(dir.path(), &host);
        Self { shims, rootfs, host, dir, runtime, cgroup_parent: format!("/{unique}") }
    }

    /// As after a restart of the agent.
    pub fn restart_agent(&mut self) {
        self.shims = shims(self.dir.path(), &self.host);
    }

    /// A container that runs a shell script.
    pub fn script(&self, id: &str, script: &str) -> ContainerSpec {
        self.command(id, &["sh", "-c", script])
    }

    pub fn command(&self, id: &str, args: &[&str]) -> ContainerSpec {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        let mut spec = ContainerSpec::new(id, &self.rootfs, args);
        spec.cgroup_parent.clone_from(&self.cgroup_parent);
        spec
    }

    pub async fn start(&self, spec: &ContainerSpec) -> Result<Started, CreateError> {
        self.start_with_log(spec, LogOptions::default()).await
    }

    pub async fn start_with_log(
        &self,
        spec: &ContainerSpec,
        log: LogOptions,
    ) -> Result<Started, CreateError> {
        let request = CreateRequest { spec: spec.clone(), runtime: Some(self.runtime.to_owned()), log };
        self.shims.create(request).await
    }

    /// Runs a container to its end and deletes it.
    pub async fn run(&self, spec: &ContainerSpec) -> Finished {
        self.start(spec).await.unwrap_or_else(|e| panic!("{}: {e}", self.runtime));
        let exit = within(self.shims.wait(&spec.id)).await.unwrap();
        let finished = Finished {
            exit,
            stdout: self.logged(&spec.id, "stdout"),
            stderr: self.logged(&spec.id, "stderr"),
        };
        within(self.shims.delete(&spec.id)).await.unwrap();
        self.shims.remove_logs(&spec.id).await.unwrap();
        finished
    }

    /// Everything in a container's current log that came from a stream.
    pub fn logged(&self, id: &str, stream: &str) -> String {
        let text = std::fs::read_to_string(self.shims.log_path(id)).unwrap_or_default();
        let entries = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let ours = entries.filter(|e| e["stream"] == stream);
        ours.map(|e| e["log"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until a line is in the container's log.
    pub async fn wait_for_output(&self, id: &str, wanted: &str) {
        until(&format!("{wanted:?} in the log of {id}"), || self.logged(id, "stdout").contains(wanted)).await;
    }

    pub fn cgroup_dirs(&self, id: &str) -> Vec<PathBuf> {
        let relative = format!("{}/{id}", &self.cgroup_parent[1..]);
        self.host.cgroup_mounts.iter().map(|m| m.path.join(&relative)).filter(|p| p.exists()).collect()
    }

    /// What a failed test leaves would disturb others.
    fn kill_everything(&self) {
        let kill = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        for pid in processes_with(self.dir.path().to_str().unwrap()) {
            let _ = kill(pid);
        }
        for mount in &self.host.cgroup_mounts {
            let parent = mount.path.join(&self.cgroup_parent[1..]);
            for container in directories(&parent).iter().map(|name| parent.join(name)) {
                let pids = std::fs::read_to_string(container.join("cgroup.procs")).unwrap_or_default();
                for pid in pids.lines().filter_map(|l| l.parse().ok()) {
                    let _ = kill(pid);
                }
                std::thread::sleep(Duration::from_millis(50));
                let _ = std::fs::remove_dir(container);
            }
        }
    }

    /// No process, mount, cgroup or file of any container is left.
    pub async fn assert_clean(&self) {
        let own = self.dir.path().to_str().unwrap().to_owned();
        let shims = || processes_with(&own);
        until("the shims' end", || shims().is_empty()).await;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&own), "mounts are left");
        let files: Vec<String> =
            names(&self.dir.path().join("run")).into_iter().filter(|n| !n.starts_with('.')).collect();
        assert!(files.is_empty(), "left in the run directory: {files:?}");
        let state = names(&self.dir.path().join("run/.oci"));
        assert!(state.is_empty(), "left of the OCI runtime: {state:?}");
        for mount in &self.host.cgroup_mounts {
            let left = directories(&mount.path.join(&self.cgroup_parent[1..]));
            assert!(left.is_empty(), "cgroups are left in {}: {left:?}", mount.path.display());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill_everything();
        }
        for mount in &self.host.cgroup_mounts {
            let _ = std::fs::remove_dir(mount.path.join(&self.cgroup_parent[1..]));
        }
    }
}

fn shims(dir: &Path, host: &HostFacts) -> Shims {
    let mut runtimes = Runtimes::default();
    runtimes.add(&format!("runc={RUNC}")).unwrap();
    Shims::new(ShimsConfig {
        shim: env!("CARGO_BIN_EXE_wharf-shim").into(),
        run_dir: dir.join("run"),
        log_dir: dir.join("log"),
        runtimes,
        host: host.clone(),
    })
    .unwrap()
}

fn make_rootfs(rootfs: &Path) {
    for name in ["bin", "etc", "tmp", "home"] {
        std::fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("install busybox-static");
    let listed = std::process::Command::new("/bin/busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(listed.stdout).unwrap().lines().filter(|n| *n != "busybox") {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:Web:/home/web:/bin/sh\n";
    std::fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
    std::fs::write(rootfs.join("etc/group"), "root:x:0:\nweb:x:102:\nlogs:x:200:web\n").unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

fn directories(dir: &Path) -> Vec<String> {
    names(dir).into_iter().filter(|n| dir.join(n).is_dir()).collect()
}

/// Processes that have a word in their command line.
pub fn processes_with(word: &str) -> Vec<i32> {
    let all = names(Path::new("/proc")).into_iter().filter_map(|n| n.parse::<i32>().ok());
    all.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(word) && *pid != std::process::id().cast_signed()
    })
    .collect()
}

pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}
