//! A registry to talk to, in this process or as a process of its own, and shorthands for requests.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rustls::ServerConfig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wharf_registry::{Limits, Server, Settings};

pub const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// Bytes that repeat nowhere near.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect()
}

pub fn client() -> Client {
    install_provider();
    Client::builder().no_proxy().timeout(DEADLINE).build().unwrap()
}

/// Tells rustls in reqwest which algorithms to use; only the first call in a process counts.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub fn settings(data_dir: &Path) -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data_dir.to_owned(),
        limits: Limits::default(),
        tls: None,
        push_needs_certificate: false,
    }
}

/// Where requests go.
pub struct Registry {
    pub url: String,
    pub addr: SocketAddr,
    pub client: Client,
    pub dir: TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Registry {
    pub async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let settings = settings(dir.path());
        Self::start_with(dir, settings).await
    }

    pub async fn start_with(dir: TempDir, settings: Settings) -> Self {
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let server = Server::start(settings).await.unwrap();
        let addr = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Registry { url: format!("{scheme}://{addr}"), addr, client: client(), dir, stop, task }
    }

    pub async fn start_tls(tls: Arc<ServerConfig>, push_needs_certificate: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let settings = Settings { tls: Some(tls), push_needs_certificate, ..settings(dir.path()) };
        Self::start_with(dir, settings).await
    }

    /// Stops it in good order and returns its data folder.
    pub async fn stop(self) -> TempDir {
        let Registry { client, dir, stop, task, .. } = self;
        drop(client);
        stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
        dir
    }

    pub async fn restart(self) -> Self {
        let dir = self.stop().await;
        let settings = settings(dir.path());
        Self::start_with(dir, settings).await
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn head(&self, path: &str) -> RequestBuilder {
        self.request(Method::HEAD, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Begins an upload and returns its path.
    pub async fn begin(&self, repo: &str) -> String {
        let response = self.post(&format!("/v2/{repo}/blobs/uploads/")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        header(&response, "location")
    }

    pub async fn push_blob(&self, repo: &str, content: &[u8]) -> String {
        let digest = sha256(content);
        let path = format!("/v2/{repo}/blobs/uploads/?digest={digest}");
        let response = self.post(&path).body(content.to_vec()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        digest
    }

    pub async fn put_manifest(
        &self,
        repo: &str,
        reference: &str,
        media_type: &str,
        document: &Value,
    ) -> Response {
        let path = format!("/v2/{repo}/manifests/{reference}");
        let body = document.to_string();
        self.put(&path).header("content-type", media_type).body(body).send().await.unwrap()
    }

    /// Pushes an image of one layer, and returns its manifest and the manifest's digest.
    pub async fn push_image(&self, repo: &str, tag: &str, seed: u8) -> (Value, String) {
        let config = json!({"architecture": "amd64", "os": "linux", "seed": seed}).to_string().into_bytes();
        let layer = bytes(1000, seed);
        self.push_blob(repo, &config).await;
        self.push_blob(repo, &layer).await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let response = self.put_manifest(repo, tag, OCI_IMAGE, &manifest).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{}", response.text().await.unwrap());
        let digest = sha256(manifest.to_string().as_bytes());
        (manifest, digest)
    }

    pub async fn status(&self, path: &str) -> StatusCode {
        self.get(path).send().await.unwrap().status()
    }

    pub async fn json(&self, path: &str) -> Value {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }
}

pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(content), "size": content.len()})
}

pub fn header(response: &Response, name: &str) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

/// Checks a refusal's status and code, and returns its first error.
pub async fn refused(response: Response, status: StatusCode, code: &str) -> Value {
    let got = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["errors"][0]["code"], code, "{text}");
    assert!(!body["errors"][0]["message"].as_str().unwrap().is_empty());
    body["errors"][0].clone()
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The names of all files below a folder.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        // A file may vanish while a running registry is looked at.
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_file() {
            found.push(entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// The real command as a process of its own; killed when dropped.
pub struct Process {
    child: Child,
    pub addr: SocketAddr,
}

impl Process {
    /// Starts it on a free loopback port and waits until it is ready.
    pub fn start(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(more);
        Self::spawn(command)
    }

    /// Starts it with a small disk of its own for the data, in a mount namespace that ends with it.
    pub fn start_on_small_disk(data_dir: &Path, size: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test mounts a file system: run it as root");
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-ec",
            "mount -t tmpfs -o size=$2 tmpfs \"$1\"; shift 2; exec \"$@\"",
            "sh",
        ]);
        command.arg(data_dir).arg(size).arg(env!("CARGO_BIN_EXE_wharf-registry"));
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (ready, when_ready) = std::sync::mpsc::channel();
        // Goes on reading until the end, so that the process never waits for room in the pipe.
        std::thread::spawn(move || {
            let mut seen = String::new();
            for line in log.lines().map_while(Result::ok) {
                seen.push_str(&line);
                seen.push('\n');
                if line.contains("registry is ready") {
                    let listen = line.split("listen=").nth(1).and_then(|rest| rest.split(' ').next());
                    let _ = ready.send(Ok(listen.unwrap().parse().unwrap()));
                }
            }
            let _ = ready.send(Err(seen));
        });
        match when_ready.recv_timeout(DEADLINE).expect("the registry says when it is ready") {
            Ok(addr) => Process { child, addr },
            Err(log) => panic!("the registry did not start:\n{log}"),
        }
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As `systemctl stop`; returns whether it ended well.
    pub fn terminate(mut self) -> bool {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let mut ended = None;
        wait_until("the registry stopped", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-registry"));
    command.env_remove("WHARF_TOKEN").env_remove("WHARF_LOG");
    command
}
