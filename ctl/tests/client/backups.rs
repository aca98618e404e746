//! Backups: what is written, and what isn't when something goes wrong.

use crate::support::{Cluster, run_in};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tonic::Status;
use wharf_proto::{
    backup::{BackupWriter, Header},
    cluster::state::State,
    codec::encode_snapshot,
};

fn backup(index: u64) -> Vec<u8> {
    let header = Header { cluster: "abc".to_owned(), index, nodes: 3, ..Header::default() };
    let mut writer = BackupWriter::begin(Vec::new(), &header).unwrap();
    encode_snapshot(&State::default(), &mut writer).unwrap();
    writer.finish().unwrap()
}

fn sends(cluster: &Cluster, pieces: Vec<Result<Vec<u8>, Status>>) {
    *cluster.script.backup.lock().unwrap() = pieces;
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[test]
fn a_backup_is_written_for_its_owner_and_can_be_looked_at() {
    let cluster = Cluster::start(1);
    let file = cluster.folder.path().join("b.bak");
    let name = file.to_str().unwrap();
    let bytes = backup(7);
    sends(&cluster, bytes.chunks(50).map(|piece| Ok(piece.to_vec())).collect());
    let said = cluster.run(&["backup", name]).ok();
    assert!(said.contains("cluster abc at index 7") && said.contains("authority"), "{said}");
    assert_eq!(said.lines().count(), 1);
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let shown = cluster.run(&["backup", "--inspect", name]).ok();
    assert!(shown.contains("abc") && shown.contains("nodes        3"), "{shown}");
    let shown = cluster.run(&["backup", "--inspect", name, "-o", "json"]).ok();
    assert!(shown.contains("\"index\": 7"), "{shown}");

    // A newer one takes its place; to standard output it goes as it is.
    sends(&cluster, vec![Ok(backup(8))]);
    cluster.run(&["backup", name]).ok();
    assert_eq!(fs::read(&file).unwrap(), backup(8));
    sends(&cluster, vec![Ok(b"as it is".to_vec())]);
    assert_eq!(cluster.run(&["backup", "-"]).ok(), "as it is");
}

#[test]
fn nothing_half_is_left_and_nothing_else_is_replaced() {
    let cluster = Cluster::start(1);
    let before = files(cluster.folder.path()).len();
    let file = cluster.folder.path().join("b.bak");
    let name = file.to_str().unwrap();
    let bytes = backup(7);
    let half = bytes[..bytes.len() / 2].to_vec();
    sends(&cluster, vec![Ok(half.clone()), Err(Status::unavailable("this controller is stopping"))]);
    cluster.run(&["backup", name]).failed(3, &["stopping"]);
    sends(&cluster, vec![Ok(half)]);
    cluster.run(&["backup", name]).failed(1, &["not whole"]);
    assert_eq!(files(cluster.folder.path()).len(), before);

    cluster.write("b.bak", "my novel");
    sends(&cluster, vec![Ok(bytes.clone())]);
    cluster.run(&["backup", name]).failed(2, &["is no backup", "--force"]);
    assert_eq!(fs::read(&file).unwrap(), b"my novel");
    cluster.run(&["backup", name, "--force"]).ok();
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let nowhere = cluster.folder.path().join("no/b.bak");
    cluster.run(&["backup", nowhere.to_str().unwrap()]).failed(1, &["cannot write into"]);
}

#[test]
fn only_a_whole_backup_is_restored_and_only_when_confirmed() {
    let cluster = Cluster::start(1);
    let mut bytes = backup(7);
    let file = cluster.folder.path().join("b.bak");
    let name = file.to_str().unwrap();
    cluster.run(&["restore", name, "--yes"]).failed(4, &["there is no file"]);
    fs::write(&file, &bytes).unwrap();
    cluster.run(&["restore", name]).failed(2, &["Replace", "abc", "3 nodes", "--yes"]);
    assert_eq!(cluster.script.writes(), []);
    cluster.script.refuse(Status::failed_precondition("this cluster is not empty"));
    cluster.run(&["restore", name, "--yes"]).failed(1, &["not empty"]);
    assert_eq!(cluster.script.writes().len(), 1);

    bytes[40] ^= 1;
    fs::write(&file, &bytes).unwrap();
    cluster.run(&["restore", name, "--yes"]).failed(1, &["b.bak", "damaged"]);
    run_in(cluster.folder.path(), &["backup", "--inspect", name]).failed(1, &["damaged", "another copy"]);
    fs::write(&file, "text").unwrap();
    cluster.run(&["restore", name, "--yes"]).failed(1, &["not a Wharf backup"]);
    assert_eq!(cluster.script.writes().len(), 1);
}
