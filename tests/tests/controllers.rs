//! Controllers are killed: what was acknowledged stays, and containers are not disturbed.

use std::collections::BTreeMap;
use wharf_tests::{Cluster, TaskView, import_busybox, stack, within};

fn pids(tasks: &[TaskView]) -> BTreeMap<String, Option<u32>> {
    tasks.iter().map(|task| (task.name.clone(), task.pid)).collect()
}

#[test]
fn the_leader_is_killed_and_writes_go_on() {
    let mut cluster = Cluster::start();
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 3));
    let before = pids(&cluster.await_running("idle/sleeper", 3, 60));

    let leader = cluster.leader();
    cluster.ok(&["node", "label", "a1", "acknowledged=yes"]);
    cluster.kill_controller(leader);
    cluster.ok(&["scale", "idle/sleeper=5"]);
    let after = pids(&cluster.await_running("idle/sleeper", 5, 60));
    assert!(before.iter().all(|(name, pid)| after.get(name) == Some(pid)), "{before:?} are among {after:?}");
    let nodes = cluster.ok(&["get", "nodes", "-o", "json"]);
    assert!(nodes.contains("acknowledged"), "an acknowledged write is there: {nodes}");

    cluster.start_controller(leader);
    within(
        60,
        "the killed controller is back",
        || cluster.controllers(),
        |all| all.iter().all(|one| one.reachable),
    );
}

#[test]
fn all_controllers_are_killed_and_come_back() {
    let mut cluster = Cluster::start();
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = pids(&cluster.await_running("idle/sleeper", 6, 60));

    for index in 0..3 {
        cluster.kill_controller(index);
    }
    let (code, said) = cluster.fails(&["get", "nodes", "--timeout", "2s"]);
    assert_eq!(code, 3, "no controller can be reached: {said}");
    for pid in before.values().flatten() {
        assert!(
            std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "container {pid} goes on without controllers"
        );
    }
    for index in 0..3 {
        cluster.start_controller(index);
    }
    within(
        60,
        "the nodes are ready again",
        || cluster.nodes(),
        |nodes| nodes.iter().all(|node| node.state == "ready"),
    );
    let after = pids(&cluster.await_running("idle/sleeper", 6, 60));
    assert_eq!(before, after, "the state is intact and no container was disturbed");
    cluster.ok(&["scale", "idle/sleeper=7"]);
    cluster.await_running("idle/sleeper", 7, 60);
}
