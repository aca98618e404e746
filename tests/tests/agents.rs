//! Agents are killed: their containers stay, with their process ids, and what ended meanwhile is noticed.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wharf_tests::{Cluster, import_busybox, stack, within};

#[test]
fn an_agent_is_killed_and_finds_its_containers_again() {
    let mut cluster = Cluster::start();
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 6));
    let before = cluster.await_running("idle/sleeper", 6, 60);

    cluster.kill_agent(0);
    for pid in before.iter().filter_map(|task| task.pid) {
        assert!(
            std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "container {pid} goes on without its agent"
        );
    }
    cluster.start_agent(0);
    within(
        30,
        "the agent is back",
        || cluster.nodes(),
        |nodes| nodes.iter().all(|node| node.state == "ready"),
    );
    let after = cluster.await_running("idle/sleeper", 6, 30);
    let list = |tasks: &[wharf_tests::TaskView]| -> Vec<(String, Option<u32>)> {
        tasks.iter().map(|task| (task.id.clone(), task.pid)).collect()
    };
    assert_eq!(list(&before), list(&after), "the same tasks with the same processes");

    // A container that ends while its agent is away is noticed and replaced.
    let victim = after.iter().find(|task| task.node == "a1").expect("a1 runs something").clone();
    cluster.kill_agent(0);
    let pid = victim.pid.expect("a running task has a process");
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("the container can be killed");
    cluster.start_agent(0);
    within(
        30,
        "the exit is noticed",
        || cluster.all_tasks("idle/sleeper"),
        |tasks| {
            tasks
                .iter()
                .any(|task| task.id == victim.id && task.state == "failed" && task.exit_code == Some(137))
        },
    );
    cluster.await_running("idle/sleeper", 6, 30);
}
