//! Controllers that share one script, and a configuration folder whose context leads to them.

use super::{Script, service::FakeControl};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use wharf_identity::{
    Authority, ClientContext, Credentials, CredentialsCell, Identity, KeyAndRequest, Protocols, Role,
    grpc_server, server_config, tls_incoming,
};
use wharf_proto::v1::control_api_server::ControlApiServer;

/// A controller on a runtime of its own, so that it can die with all its connections.
struct Controller {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// Some controllers and a client's folder. The context is called `test`.
pub(crate) struct Cluster {
    pub(crate) script: Arc<Script>,
    pub(crate) folder: TempDir,
    controllers: Vec<Controller>,
}

impl Cluster {
    /// A cluster of so many controllers, and its context, which is the current one.
    pub(crate) fn start(controllers: usize) -> Self {
        let now = SystemTime::now();
        let authority = Authority::create("test", now).unwrap();
        let script = Script::new();
        let cell = CredentialsCell::new(issue(&authority, Role::Controller));
        let controllers: Vec<Controller> =
            (0..controllers).map(|_| Controller::start(script.clone(), &cell)).collect();
        let folder = tempfile::tempdir().unwrap();
        let addresses = controllers.iter().map(|controller| controller.address.to_string()).collect();
        let context = ClientContext::new("test", addresses, &issue(&authority, Role::Admin));
        std::fs::create_dir_all(folder.path().join("contexts")).unwrap();
        context.save(&folder.path().join("contexts/test.json")).unwrap();
        Cluster { script, folder, controllers }
    }

    /// Ends a controller and all its connections at once.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(runtime) = self.controllers[index].runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn address(&self, index: usize) -> String {
        self.controllers[index].address.to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.controllers.len() {
            self.kill(index);
        }
    }
}

impl Controller {
    fn start(script: Arc<Script>, cell: &CredentialsCell) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = server_config(cell, Protocols::Http2).unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let service = ControlApiServer::new(FakeControl(script));
            let incoming = tls_incoming(listener, config);
            grpc_server().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Controller { address, runtime: Some(runtime) }
    }
}

fn issue(authority: &Authority, role: Role) -> Credentials {
    let key = KeyAndRequest::generate().unwrap();
    let identity = Identity::new(authority.cluster(), role, "x1").unwrap();
    let hour = Duration::from_secs(3600);
    let certificate = authority.issue(&key.csr_pem, &identity, &[], SystemTime::now(), hour).unwrap();
    Credentials::from_pem(authority.certificate_pem(), &certificate, &key.key_pem).unwrap()
}
