//! The real program, killed at any moment.

use crate::harness::{PATIENCE, free_port, of_kind};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::Instant;
use wharf_identity::{ClientContext, CredentialsCell, connect};
use wharf_proto::v1::{Kind, control_api_client::ControlApiClient, object::Object};

struct Program(Child);

impl Program {
    fn start(data_dir: &Path, port: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_wharf-controller"))
            .args(["--bootstrap", "--name", "c1", "--listen", &format!("127.0.0.1:{port}"), "--log", "warn"])
            .arg("--data-dir")
            .arg(data_dir)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Program(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_made_once_however_often_its_making_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("c1");
    let port = free_port();
    // Spread over the time that making a cluster takes, and beyond.
    for millis in [5, 15, 25, 40, 80, 200, 700, 1000, 1500] {
        let program = Program::start(&data_dir, port);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(program);
    }
    let _program = Program::start(&data_dir, port);
    let deadline = Instant::now() + PATIENCE;
    let controllers = loop {
        if let Ok(context) = ClientContext::load(&data_dir.join("admin.json")) {
            let cell = CredentialsCell::new(context.credentials().unwrap());
            if let Ok(channel) = connect(&format!("127.0.0.1:{port}"), &cell).await
                && let Ok(got) = ControlApiClient::new(channel).get(of_kind(Kind::Controller)).await
                && !got.get_ref().objects.is_empty()
            {
                break got.into_inner().objects;
            }
        }
        assert!(Instant::now() < deadline, "no cluster");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let [only] = &controllers[..] else { panic!("{controllers:?}") };
    let Some(Object::Controller(only)) = &only.object else { panic!("{only:?}") };
    assert_eq!((only.name.as_str(), only.role.as_str()), ("c1", "leader"));
    assert!(!data_dir.join("founding").exists());
}
