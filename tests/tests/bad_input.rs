//! Bad input of every kind: a clear error, the reason visible, nothing lost.

use std::fs;
use wharf_tests::{Cluster, Options, Process, import_busybox, stack, within};

/// Applies `yaml`, which must be refused before anything happens, and gives what was said.
fn refused(cluster: &Cluster, yaml: &str) -> String {
    let file = cluster.write("bad.yaml", yaml);
    let (code, said) = cluster.fails(&["apply", "--yes", "-f", &file]);
    assert!(code == 1 || code == 2, "exit code {code}: {said}");
    assert!(said.contains("bad.yaml"), "the file is named: {said}");
    said
}

/// Waits for a task of `service` whose message holds every one of `words`.
fn await_message(cluster: &Cluster, service: &str, words: &[&str]) {
    let what = format!("a task of {service} says {words:?}");
    within(
        60,
        &what,
        || cluster.all_tasks(service),
        |tasks| tasks.iter().any(|task| words.iter().all(|word| task.message.to_lowercase().contains(word))),
    );
}

fn one(name: &str, image: &str, more: &str) -> String {
    format!(
        "name: {name}\nservices:\n  main:\n    image: {image}\n    command: [sleep, '1000000']\n    init: true\n    stop_grace_period: 1s\n{more}"
    )
}

#[test]
fn bad_input_is_explained_and_harms_nothing() {
    let mut cluster = Cluster::with(Options { controllers: 1, agents: 1, ..Options::default() });
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, 2));
    let healthy = cluster.await_running("idle/sleeper", 2, 60);

    // Compose files.
    let said = refused(&cluster, "name: bad\nservices:\n  web: [unclosed\n");
    assert!(said.contains("bad.yaml:"), "the place is named: {said}");
    let said = refused(&cluster, "name: bad\nservices:\n  web:\n    image: x\n    replcas: 3\n");
    assert!(said.contains(":5:") && said.contains("replcas"), "{said}");
    let said =
        refused(&cluster, "name: bad\nservices:\n  web:\n    image: x\n    deploy: { replicas: many }\n");
    assert!(said.contains("replicas") || said.contains("many"), "{said}");
    let mut bomb = String::from("name: bad\nx-0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let last = level - 1;
        bomb.push_str(&format!(
            "x-{level}: &a{level} [*a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}]\n"
        ));
    }
    bomb.push_str("services: { web: { image: x, labels: *a11 } }\n");
    refused(&cluster, &bomb);

    // Images.
    let registry = cluster.registry_address();
    let apply = |yaml: &str| {
        let file = cluster.write("one.yaml", yaml);
        cluster.ok(&["apply", "--yes", "--detach", "-f", &file]);
    };
    apply(&one("ghost", &format!("{registry}/nowhere:1"), ""));
    await_message(&cluster, "ghost/main", &["nowhere"]);
    apply(&one("dead", "10.88.0.2:5999/app:1", ""));
    await_message(&cluster, "dead/main", &["10.88.0.2:5999"]);
    let rootfs = tempfile::tempdir().expect("a folder can be made");
    wharf_tests::busybox_rootfs(rootfs.path());
    let other = format!("{registry}/other:1");
    let folder = rootfs.path().to_str().expect("temporary paths are text");
    cluster.ok(&["image", "import", folder, &other, "--platform", "linux/s390x"]);
    apply(&one("foreign", &other, ""));
    await_message(&cluster, "foreign/main", &["s390x"]);

    // A placement that can't be.
    apply(&one("nowhere", &image, "    deploy: { placement: { constraints: [node.labels.disk==ssd] } }\n"));
    await_message(&cluster, "nowhere/main", &["constraint node.labels.disk==ssd"]);
    let described = cluster.ok(&["describe", "service", "nowhere/main"]);
    assert!(described.contains("node.labels.disk==ssd"), "{described}");

    // A program that isn't there.
    apply(
        &one("typo", &image, "").replace("[sleep, '1000000']", "[/bin/nope]").replace("    init: true\n", ""),
    );
    await_message(&cluster, "typo/main", &["/bin/nope"]);

    // A token that isn't right.
    let token = cluster.ok(&["token", "show", "--role", "controller"]).trim().to_owned();
    let controller = format!("{}:7400", cluster.controller_host(0).address);
    for (bad, word) in [(token.as_str(), "controller"), ("nonsense", "token")] {
        let data = cluster.path("intruder");
        let args = ["--join", &controller, "--data-dir", &data, "--run-dir", &cluster.path("intruder-run")]
            .map(str::to_owned);
        let log = std::path::PathBuf::from(cluster.path("intruder.log"));
        fs::write(&log, "").expect("a file can be written");
        let program = cluster.program("wharf-agent");
        let mut intruder =
            Process::start(cluster.client_host(), &program, &args, &[("WHARF_TOKEN", bad)], &log);
        within(20, "the intruder gives up", || intruder.has_ended(), |ended| *ended);
        assert!(intruder.output().contains(word), "{}", intruder.output());
    }

    // A registry that died: what runs goes on, what needs it says so.
    cluster.kill_registry();
    let file = cluster.write("late.yaml", &one("late", &format!("{registry}/busybox:never-pulled"), ""));
    cluster.ok(&["apply", "--yes", "--detach", "-f", &file]);
    await_message(&cluster, "late/main", &[&registry]);

    let after =
        within(10, "the healthy stack runs", || cluster.running("idle/sleeper"), |tasks| tasks.len() == 2);
    let pids = |tasks: &[wharf_tests::TaskView]| tasks.iter().map(|task| task.pid).collect::<Vec<_>>();
    assert_eq!(pids(&healthy), pids(&after), "nothing was lost");
}
