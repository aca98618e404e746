//! A node is cut off: its tasks run elsewhere, and when it returns everything converges.

use wharf_tests::{Cluster, import_busybox, stack, within};

#[test]
fn a_node_is_cut_off_and_returns() {
    let cluster = Cluster::start();
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = cluster.await_running("idle/sleeper", 6, 60);
    let stranded: Vec<u32> =
        before.iter().filter(|task| task.node == "a1").filter_map(|task| task.pid).collect();
    assert!(!stranded.is_empty(), "a1 runs something: {before:#?}");

    cluster.agent_host(0).cut();
    cluster.await_moved("a1", "idle/sleeper", 6);
    for pid in &stranded {
        assert!(
            std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "a node that is cut off keeps working"
        );
    }

    cluster.agent_host(0).heal();
    within(60, "a1 is ready", || cluster.nodes(), |nodes| nodes.iter().all(|node| node.state == "ready"));
    within(
        30,
        "the surplus has stopped",
        || stranded.clone(),
        |pids| pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()),
    );
    cluster.await_running("idle/sleeper", 6, 30);

    // Draining moves tasks away; activating takes new ones.
    cluster.ok(&["node", "drain", "a2"]);
    within(
        30,
        "a2 is empty",
        || cluster.running("idle/sleeper"),
        |tasks| tasks.len() == 6 && tasks.iter().all(|task| task.node != "a2"),
    );
    cluster.ok(&["node", "activate", "a2"]);
    cluster.ok(&["scale", "idle/sleeper=9"]);
    within(
        30,
        "a2 takes tasks again",
        || cluster.running("idle/sleeper"),
        |tasks| tasks.len() == 9 && tasks.iter().any(|task| task.node == "a2"),
    );
}
