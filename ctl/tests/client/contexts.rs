//! `wharf context` and how a context is chosen.

use crate::support::{Cluster, controller_at, node};
use std::os::unix::fs::PermissionsExt;
use wharf_identity::ClientContext;

fn known(cluster: &Cluster) -> Vec<String> {
    ClientContext::load(&cluster.folder.path().join("contexts/test.json")).unwrap().addresses
}

/// A cluster of three whose context knows the first one.
fn of_three() -> (Cluster, Vec<String>) {
    let cluster = Cluster::start(3);
    let addresses = known(&cluster);
    let controllers = addresses.iter().enumerate();
    let shown = controllers.map(|(number, address)| controller_at(&format!("c{number}"), address)).collect();
    cluster.script.set(shown);
    cluster.run(&["context", "set", "test", "--addresses", &addresses[0]]).ok();
    (cluster, addresses)
}

#[test]
fn a_context_learns_of_the_other_controllers_and_outlives_the_first() {
    let (mut cluster, addresses) = of_three();
    assert_eq!(known(&cluster).len(), 1);
    cluster.run(&["get", "nodes"]).ok();
    assert_eq!(known(&cluster), addresses);
    cluster.kill(0);
    cluster.run(&["get", "nodes"]).ok();
}

#[test]
fn a_command_that_is_given_controllers_leaves_the_context_alone() {
    let (cluster, addresses) = of_three();
    cluster.run(&["get", "nodes", "--controller", &addresses[1]]).ok();
    assert_eq!(known(&cluster), addresses[..1]);
}

#[test]
fn contexts_are_added_used_changed_and_forgotten() {
    let (cluster, mine) = (Cluster::start(1), Cluster::start(0));
    mine.run(&["context", "rm", "test", "--yes"]).ok();
    mine.run(&["get", "nodes"]).failed(2, &["wharf context add FILE"]);

    let file = cluster.folder.path().join("contexts/test.json");
    let file = file.to_str().unwrap();
    mine.run(&["context", "add", file, "--name", "home", "--use"]).ok();
    mine.run(&["context", "set", "home", "--registry", "10.0.0.20:5000"]).ok();
    let kept = mine.folder.path().join("contexts/home.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    cluster.script.set(vec![node("a1", "ready")]);
    assert!(mine.run(&["get", "nodes"]).ok().contains("a1"));
    let listed: serde_json::Value =
        serde_json::from_str(&mine.run(&["context", "ls", "-o", "json"]).ok()).unwrap();
    assert_eq!(listed[0]["name"], "home");
    assert_eq!(listed[0]["current"], true);
    assert_eq!(listed[0]["registry"], "10.0.0.20:5000");
    let shown = mine.run(&["context", "show"]).ok();
    assert!(shown.contains("10.0.0.20:5000") && !shown.contains("PRIVATE"), "{shown}");

    mine.run(&["context", "set", "home", "--addresses", "127.0.0.1:1"]).ok();
    mine.run(&["get", "nodes", "--timeout", "200ms"]).failed(3, &["127.0.0.1:1"]);
    mine.run(&["get", "nodes", "--context", "work"]).failed(4, &["work"]);
    mine.run(&["context", "rm", "home", "--yes"]).ok();
    assert!(!kept.exists());
    mine.run(&["context", "rm", "home", "--yes"]).failed(4, &["home"]);
}

#[test]
fn a_context_of_another_cluster_is_not_replaced_unasked() {
    let (cluster, other) = (Cluster::start(0), Cluster::start(0));
    let file = other.folder.path().join("contexts/test.json");
    let file = file.to_str().unwrap();
    cluster.run(&["context", "add", file]).failed(5, &["--force"]);
    cluster.run(&["context", "add", file, "--name", "../escape"]).failed(2, &["escape"]);
    cluster.run(&["context", "add", file, "--force"]).ok();
    cluster.run(&["context", "add", "missing.json"]).failed(1, &["missing.json"]);
}

#[test]
fn several_contexts_need_a_choice() {
    let cluster = Cluster::start(0);
    let file = cluster.folder.path().join("contexts/test.json");
    cluster.run(&["context", "add", file.to_str().unwrap(), "--name", "twin"]).ok();
    cluster.run(&["get", "nodes"]).failed(2, &["test, twin", "wharf context use"]);
    cluster.run(&["context", "use", "twin"]).ok();
    cluster.run(&["get", "nodes"]).failed(3, &["no controller's address is known"]);
}
