//! A cluster of such controllers on real ports with real TLS, and a user who has a context for it.

use crate::controller::{Controller, Script};
use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command, sync::oneshot, time::timeout};
use wharf_identity::{
    Authority, ClientContext, Credentials, CredentialsCell, Identity, KeyAndRequest, Protocols, Role,
    grpc_server, server_config, tls_incoming,
};
use wharf_proto::v1::{self, Object, control_api_server::ControlApiServer, object};

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

pub struct Cluster {
    script: Arc<Mutex<Script>>,
    /// Each controller's address, and what stops it.
    controllers: Vec<(String, Option<oneshot::Sender<()>>)>,
    user: User,
}

impl Cluster {
    /// A cluster of so many controllers; the user's context knows the first one.
    pub async fn start(size: usize) -> Self {
        let authority = Authority::create("c1", SystemTime::now()).expect("an authority");
        let script = Arc::new(Mutex::new(Script::default()));
        let mut controllers = Vec::new();
        for number in 0..size {
            let credentials = issue(&authority, Role::Controller, &format!("k{number}"));
            let config =
                server_config(&CredentialsCell::new(credentials), Protocols::Http2).expect("settings");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            let service = ControlApiServer::new(Controller { number, script: Arc::clone(&script) });
            let (stop, stopped) = oneshot::channel::<()>();
            tokio::spawn(async move {
                let incoming = tls_incoming(listener, config);
                let serving =
                    grpc_server().add_service(service).serve_with_incoming_shutdown(incoming, async {
                        let _ = stopped.await;
                    });
                serving.await.expect("a server");
            });
            script.lock().expect("a script").objects.push(controller(number, &address));
            controllers.push((address, Some(stop)));
        }
        let user = User::new();
        let admin = issue(&authority, Role::Admin, "admin");
        user.add_context(&ClientContext::new("default", vec![controllers[0].0.clone()], &admin));
        Cluster { script, controllers, user }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("a whole script")
    }

    pub fn address(&self, number: usize) -> &str {
        &self.controllers[number].0
    }

    /// Stops a controller; nobody listens on its address from then on.
    pub async fn stop(&mut self, number: usize) {
        let (address, stop) = &mut self.controllers[number];
        drop(stop.take());
        let closed = async {
            while tokio::net::TcpStream::connect(&*address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, closed).await.expect("a controller that stops");
    }

    /// The addresses that the user's context knows.
    pub fn known_addresses(&self) -> Vec<String> {
        ClientContext::load(&self.user.context_file()).expect("a context").addresses
    }

    pub async fn wharf(&self, args: &[&str]) -> Ran {
        self.user.wharf(args).await
    }

    /// The program, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        self.user.command(args)
    }

    /// Writes a file into the folder that the program runs in.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.user.home.path().join(name), text).expect("a file");
    }
}

/// Somebody with a home of their own.
pub struct User {
    home: TempDir,
}

impl User {
    pub fn new() -> Self {
        User { home: tempfile::tempdir().expect("a folder") }
    }

    fn context_file(&self) -> PathBuf {
        self.home.path().join("wharf/contexts/default.json")
    }

    pub fn add_context(&self, context: &ClientContext) {
        let file = self.context_file();
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        context.save(&file).expect("a context");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let home: &Path = self.home.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(args).current_dir(home).env_clear().env("HOME", home);
        command.env("WHARF_CONFIG_DIR", home.join("wharf")).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub async fn wharf(&self, args: &[&str]) -> Ran {
        let output = timeout(PATIENCE, self.command(args).output()).await;
        Ran::new(output.expect("a program that ends").expect("a program"))
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran {
            code: output.status.code().expect("a code"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Checks the exit code; shows everything if it is another one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

pub fn issue(authority: &Authority, role: Role, id: &str) -> Credentials {
    let key = KeyAndRequest::generate().expect("a key");
    let identity = Identity::new(authority.cluster(), role, id).expect("an identity");
    let cert = authority.issue(&key.csr_pem, &identity, &[], SystemTime::now(), HOUR).expect("a certificate");
    Credentials::from_pem(authority.certificate_pem(), &cert, &key.key_pem).expect("credentials")
}

fn controller(number: usize, address: &str) -> Object {
    let controller = v1::Controller {
        id: format!("k{number}"),
        name: format!("c{number}"),
        address: address.to_owned(),
        ..v1::Controller::default()
    };
    Object { object: Some(object::Object::Controller(controller)) }
}

/// A service of the image `web:1`.
pub fn service(name: &str, running: u32, desired: u32) -> Object {
    let service = v1::Service {
        id: format!("id-{name}"),
        name: name.to_owned(),
        mode: "replicated".to_owned(),
        template: 1,
        running,
        desired,
        up_to_date: running,
        ..v1::Service::default()
    };
    Object { object: Some(object::Object::Service(service)) }
}

pub fn task(service: &str, slot: u32, state: &str, message: &str) -> Object {
    let task = v1::Task {
        id: format!("{service}-{slot}-{message}"),
        name: format!("{service}.{slot}"),
        service: service.to_owned(),
        slot,
        node: "a1".to_owned(),
        node_state: "ready".to_owned(),
        state: state.to_owned(),
        desired: "running".to_owned(),
        message: message.to_owned(),
        template: 1,
        ..v1::Task::default()
    };
    Object { object: Some(object::Object::Task(task)) }
}
