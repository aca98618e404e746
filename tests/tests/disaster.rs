//! Controllers lost for good, with their disks: what a backup, or the one that is left, brings back, and that no container
//! notices.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};
use wharf_tests::{Cluster, Options, TaskView, import_busybox, stack, wait_for, within};

fn pids(tasks: &[TaskView]) -> BTreeMap<String, Option<u32>> {
    tasks.iter().map(|task| (task.id.clone(), task.pid)).collect()
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn await_ready(cluster: &Cluster) {
    within(
        90,
        "every node is ready",
        || cluster.run(&["get", "nodes", "-o", "json"]),
        |output| {
            let nodes: Vec<wharf_tests::NodeView> =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            nodes.len() == 2 && nodes.iter().all(|node| node.state == "ready")
        },
    );
}

/// A cluster with four tasks, and what runs them.
fn start() -> (Cluster, BTreeMap<String, Option<u32>>) {
    let cluster = Cluster::with(Options { agents: 2, ..Options::default() });
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 4));
    let before = pids(&cluster.await_running("idle/sleeper", 4, 60));
    (cluster, before)
}

fn lose_everything(cluster: &mut Cluster) {
    for index in 0..3 {
        cluster.kill_controller(index);
        cluster.lose_controller_data(index);
    }
}

#[test]
fn all_controllers_are_lost_and_a_backup_brings_the_cluster_back() {
    let (mut cluster, before) = start();
    let file = cluster.path("wharf.bak");
    let said = cluster.ok(&["backup", &file]);
    assert!(said.contains("authority"), "what the file holds is said: {said}");
    let mode = fs::metadata(&file).expect("the backup is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(cluster.ok(&["backup", "--inspect", &file]).contains("tasks        4"));

    // What comes after the backup is lost with it.
    cluster.ok(&["scale", "idle/sleeper=5"]);
    let late = pids(&cluster.await_running("idle/sleeper", 5, 60));
    let late: Vec<u32> =
        late.iter().filter(|(id, _)| !before.contains_key(*id)).filter_map(|(_, pid)| *pid).collect();
    lose_everything(&mut cluster);
    assert!(before.values().flatten().all(|pid| lives(*pid)), "containers go on without controllers");

    // At an address that agents and client know.
    cluster.start_controller_as(1, &["--restore", &file]);
    await_ready(&cluster);
    assert_eq!(pids(&cluster.await_running("idle/sleeper", 4, 60)), before, "no container was disturbed");
    wait_for("the task that the backup doesn't know is stopped", 60, || {
        late.iter().all(|pid| !lives(*pid)).then_some(())
    });
    cluster.ok(&["scale", "idle/sleeper=6"]);
    let after = pids(&cluster.await_running("idle/sleeper", 6, 60));
    assert!(before.iter().all(|(id, pid)| after.get(id) == Some(pid)), "{before:?} are among {after:?}");
    cluster.join_controller(0, 1);
    within(
        60,
        "another controller votes",
        || cluster.controllers(),
        |all| all.iter().filter(|one| one.role != "learner").count() == 2,
    );
}

#[test]
fn a_new_cluster_gives_way_to_a_backup() {
    let (mut cluster, before) = start();
    let file = cluster.path("wharf.bak");
    cluster.ok(&["backup", &file]);
    let (code, said) = cluster.fails(&["restore", &file, "--yes"]);
    assert_eq!(code, 1, "a cluster that is in use doesn't give way: {said}");
    assert!(said.contains("not empty") && said.contains("--bootstrap"), "{said}");
    lose_everything(&mut cluster);

    let admin = cluster.path("admin.json");
    fs::remove_file(&admin).expect("the old context can be removed");
    cluster.start_controller_as(0, &["--bootstrap"]);
    wait_for("the new cluster's context", 30, || Path::new(&admin).exists().then_some(()));
    cluster.ok(&["context", "add", &admin, "--name", "new", "--use"]);
    cluster.ok(&["restore", &file, "--yes"]);
    // The next command finds the restored cluster.
    cluster.ok(&["get", "nodes"]);
    await_ready(&cluster);
    assert_eq!(pids(&cluster.await_running("idle/sleeper", 4, 60)), before, "no container was disturbed");
    cluster.kill_controller(0);
    cluster.start_controller(0);
    cluster.ok(&["scale", "idle/sleeper=5"]);
    cluster.await_running("idle/sleeper", 5, 60);
}

#[test]
fn two_of_three_controllers_are_lost_and_the_third_goes_on() {
    let (mut cluster, before) = start();
    let leader = cluster.leader();
    let kept = (leader + 1) % 3;
    let lost: Vec<usize> = (0..3).filter(|index| *index != kept).collect();
    let said_of = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let refused = cluster.recover_controller(kept, &["--yes"]);
    assert!(!refused.status.success() && said_of(&refused).contains("in use"), "{}", said_of(&refused));
    for index in 0..3 {
        cluster.kill_controller(index);
    }
    let unconfirmed = cluster.recover_controller(kept, &[]);
    let said = said_of(&unconfirmed);
    assert!(!unconfirmed.status.success() && said.contains("nothing was done"), "{said}");
    for index in &lost {
        let address = &cluster.controller_host(*index).address;
        assert!(said.contains(address.as_str()), "who is given up is said: {said}");
    }
    let done = cluster.recover_controller(kept, &["--yes"]);
    assert!(done.status.success(), "{}", said_of(&done));
    cluster.start_controller(kept);
    await_ready(&cluster);
    assert_eq!(pids(&cluster.await_running("idle/sleeper", 4, 60)), before, "no container was disturbed");
    cluster.ok(&["scale", "idle/sleeper=5"]);
    cluster.await_running("idle/sleeper", 5, 60);

    // One that comes back after all is refused, and says so.
    cluster.start_controller(lost[0]);
    wait_for("the lost controller gives up", 60, || cluster.controller_has_ended(lost[0]).then_some(()));
    let name = format!("c{}", lost[0] + 1);
    assert!(
        cluster.output_of(&name).contains("was removed from the cluster"),
        "{}",
        cluster.output_of(&name)
    );
    for index in &lost {
        cluster.lose_controller_data(*index);
        cluster.join_controller(*index, kept);
    }
    within(
        60,
        "three controllers vote",
        || cluster.controllers(),
        |all| all.iter().filter(|one| one.role != "learner" && one.reachable).count() == 3,
    );
    let after = pids(&cluster.await_running("idle/sleeper", 5, 60));
    assert!(before.iter().all(|(id, pid)| after.get(id) == Some(pid)), "{before:?} are among {after:?}");
}
