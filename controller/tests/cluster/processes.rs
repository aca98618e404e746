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
    fn start(data_dir: &Path, port: u16, how: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_wharf-controller"))
            .args(how)
            .args(["--name", "c1", "--listen", &format!("127.0.0.1:{port}"), "--log", "warn"])
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
        let program = Program::start(&data_dir, port, &["--bootstrap"]);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(program);
    }
    let _program = Program::start(&data_dir, port, &["--bootstrap"]);
    let [only] = &objects(&data_dir, port, Kind::Controller).await[..] else { panic!("more than one") };
    let Object::Controller(only) = only else { panic!("{only:?}") };
    assert_eq!((only.name.as_str(), only.role.as_str()), ("c1", "leader"));
    assert!(!data_dir.join("founding").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_once_however_often_that_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("c1");
    let port = free_port();
    let how = ["--restore", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/backup-1-state-2")];
    for millis in [2, 5, 8, 12, 16, 20, 25, 30, 40, 60, 80, 150, 700, 1200] {
        let program = Program::start(&data_dir, port, &how);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(program);
    }
    let program = Program::start(&data_dir, port, &how);
    let [only] = &objects(&data_dir, port, Kind::Controller).await[..] else { panic!("more than one") };
    let Object::Controller(only) = only else { panic!("{only:?}") };
    assert_eq!((only.name.as_str(), only.role.as_str()), ("c1", "leader"));
    assert_eq!(objects(&data_dir, port, Kind::Node).await.len(), 1);
    assert_eq!(objects(&data_dir, port, Kind::Stack).await.len(), 1);
    assert!(!data_dir.join("restoring").exists() && data_dir.join("restored").exists());

    // What it holds now is its own: nothing takes it back to the backup.
    let id = only.id.clone();
    drop(program);
    let _program = Program::start(&data_dir, port, &how);
    let [Object::Controller(again)] = &objects(&data_dir, port, Kind::Controller).await[..] else {
        panic!("another")
    };
    assert_eq!(again.id, id);
}

/// What the cluster's first controller shows its admin, once it does.
async fn objects(data_dir: &Path, port: u16, kind: Kind) -> Vec<Object> {
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        if let Ok(context) = ClientContext::load(&data_dir.join("admin.json")) {
            let cell = CredentialsCell::new(context.credentials().unwrap());
            if let Ok(channel) = connect(&format!("127.0.0.1:{port}"), &cell).await
                && let Ok(got) = ControlApiClient::new(channel).get(of_kind(kind)).await
                && !got.get_ref().objects.is_empty()
            {
                break got.into_inner().objects;
            }
        }
        assert!(Instant::now() < deadline, "no cluster");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    found.into_iter().filter_map(|found| found.object).collect()
}
