//! Another OCI runtime is chosen, per service.

use wharf_tests::{Cluster, Options, import_busybox, within};

#[test]
fn a_service_chooses_its_runtime() {
    let agent_args = vec!["--runtime".to_owned(), "runc=/usr/sbin/runc".to_owned()];
    let cluster = Cluster::with(Options { controllers: 1, agents: 1, agent_args, ..Options::default() });
    let image = import_busybox(&cluster, "1");
    let stack = |name: &str, runtime: &str| {
        format!(
            "name: {name}\nservices:\n  main:\n    image: {image}\n    runtime: {runtime}\n    init: true\n    \
             command: [sleep, '1000000']\n    stop_grace_period: 1s\n    deploy:\n      resources: {{ limits: {{ \
             memory: 48M, pids: 16, cpus: '0.5' }} }}\n"
        )
    };
    for (name, runtime) in [("ours", "wharf"), ("theirs", "runc")] {
        cluster.apply(&stack(name, runtime));
        let service = format!("{name}/main");
        let task = cluster.await_running(&service, 1, 30).remove(0);
        let pid = task.pid.expect("a running task has a process");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
        assert!(status.contains("NoNewPrivs:\t1"), "{runtime}: {status}");
        assert!(status.contains("Seccomp:\t2"), "{runtime}: {status}");
        // Docker's default capabilities.
        assert!(status.contains("CapBnd:\t00000000a80425fb"), "{runtime}: {status}");
    }

    // One that no node has: the task waits, and says for what.
    let file = cluster.write("absent.yaml", &stack("absent", "kata"));
    cluster.ok(&["apply", "--yes", "--detach", "-f", &file]);
    within(
        30,
        "the missing runtime is named",
        || cluster.tasks("absent/main"),
        |tasks| tasks.iter().any(|task| task.message.contains("kata")),
    );
}
