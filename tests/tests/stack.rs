//! A stack runs, is scaled, is updated, and an update that fails comes back by itself.

use std::collections::BTreeSet;
use wharf_tests::{Cluster, import_busybox, stack, within};

#[test]
fn a_stack_runs_scales_updates_and_rolls_back() {
    let cluster = Cluster::start();
    let one = import_busybox(&cluster, "1");
    let two = import_busybox(&cluster, "2");

    let printed = cluster.apply(&stack::web(&one, 6));
    assert!(printed.contains("shop/web"), "the plan names the service: {printed}");
    let running = cluster.await_running("shop/web", 6, 60);
    let nodes: BTreeSet<&str> = running.iter().map(|task| task.node.as_str()).collect();
    assert_eq!(nodes.len(), 3, "six replicas are spread over three nodes: {running:#?}");

    // Each replica answers on the node's port that it was given.
    for task in &running {
        let address = format!("10.88.0.3{}", &task.node[1..]);
        let port = task.ports.first().expect("the port is published").published;
        let url = format!("http://{address}:{port}/");
        let output = cluster.client_host().command("curl").args(["-sf", "--max-time", "5", &url]).output();
        let output = output.expect("curl can be run");
        assert!(output.status.success(), "{url} of {} does not answer", task.name);
    }

    let logs = cluster.ok(&["logs", "shop/web"]);
    assert_eq!(
        logs.lines().filter(|line| line.contains("up")).count(),
        6,
        "every task's log is there: {logs}"
    );

    cluster.ok(&["scale", "shop/web=20"]);
    let twenty = cluster.await_running("shop/web", 20, 90);
    let kept: BTreeSet<u32> = twenty.iter().filter_map(|task| task.pid).collect();
    assert!(
        running.iter().all(|task| task.pid.is_some_and(|pid| kept.contains(&pid))),
        "no old replica was touched"
    );
    cluster.ok(&["scale", "shop/web=2"]);
    cluster.await_running("shop/web", 2, 60);

    cluster.ok(&["scale", "shop/web=6"]);
    cluster.await_running("shop/web", 6, 60);
    cluster.apply(&stack::web(&two, 6));
    let updated = cluster.await_running("shop/web", 6, 90);
    assert!(updated.iter().all(|task| task.image == two), "every task runs the new image: {updated:#?}");
    let rollout = cluster.service("shop/web").rollout.expect("there was a rollout");
    assert_eq!(rollout.state, "completed", "{rollout:#?}");

    // An update whose health check fails comes back by itself.
    let broken = stack::web(&two, 6)
        .replace("127.0.0.1:8080", "127.0.0.1:9")
        .replace("start_period: 10s", "retries: 1");
    let file = cluster.write("broken.yaml", &broken);
    let (code, said) = cluster.fails(&["apply", "--yes", "-f", &file]);
    assert_eq!(code, 1, "an update that fails is a failure: {said}");
    within(
        90,
        "the update is rolled back",
        || cluster.service("shop/web"),
        |service| {
            service.rollout.as_ref().is_some_and(|rollout| rollout.state == "rolled back")
                && service.running == 6
        },
    );
    let back = cluster.await_running("shop/web", 6, 60);
    assert!(back.iter().all(|task| task.image == two));

    cluster.ok(&["rm", "stack", "shop", "--yes"]);
    within(
        60,
        "nothing is left of the stack",
        || cluster.ok(&["get", "tasks", "--all", "-o", "name"]),
        String::is_empty,
    );
}
