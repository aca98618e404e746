//! Lives of containers, from creation to deletion, with the embedded runtime and with runc.

mod common;

use std::time::Duration;

use common::{Node, RUNTIMES, is_alive, until, within};
use wharf_runtime::api::{ContainerRuntime, CreateError, LogOptions, RuntimeError, Status};

#[tokio::test]
async fn exit_codes_and_output_are_kept() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let done = node.run(&node.script("ok", "echo out; echo err >&2; printf partial")).await;
        assert_eq!((done.exit.code, done.exit.signal, done.exit.oom_killed), (0, None, false));
        assert_eq!(done.stdout, "out\npartial");
        assert_eq!(done.stderr, "err\n");
        assert!(done.exit.finished_at >= done.exit.started_at);
        let failed = node.run(&node.script("bad", "exit 42")).await;
        assert_eq!(failed.exit.code, 42);
        let killed = node.run(&node.script("dead", "sh -c 'kill -9 $PPID' & wait")).await;
        assert!(killed.exit.code == 0 || killed.exit.code == 137, "pid 1 can't be killed from inside");
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_stopped_container_ends_by_its_signal_or_is_killed_after_the_grace() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let polite =
            node.script("polite", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
        node.start(&polite).await.unwrap();
        node.wait_for_output("polite", "ready").await;
        let exit = within(node.shims.stop("polite", libc::SIGTERM, Duration::from_secs(20))).await.unwrap();
        assert_eq!(exit.code, 7);
        assert!(node.logged("polite", "stdout").ends_with("bye\n"));
        // A stopped container keeps its exit until it is deleted, and stopping again is no error.
        assert_eq!(node.shims.stop("polite", libc::SIGTERM, Duration::ZERO).await.unwrap(), exit);

        let deaf = node.script("deaf", "trap '' TERM; echo ready; while :; do sleep 1; done");
        node.start(&deaf).await.unwrap();
        node.wait_for_output("deaf", "ready").await;
        let exit = within(node.shims.stop("deaf", libc::SIGTERM, Duration::from_millis(50))).await.unwrap();
        assert_eq!((exit.code, exit.signal), (137, Some(9)));
        for id in ["polite", "deaf"] {
            node.shims.delete(id).await.unwrap();
            node.shims.delete(id).await.unwrap();
        }
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_running_container_is_killed_by_delete() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let started = node.start(&node.script("run", "sleep 1000 & sleep 1000")).await.unwrap();
        assert!(is_alive(started.pid));
        within(node.shims.delete("run")).await.unwrap();
        assert!(!is_alive(started.pid));
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn what_can_not_run_says_why_and_leaves_nothing() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let error = node.start(&node.command("none", &["foo"])).await.unwrap_err();
        assert!(matches!(error, CreateError::Command(_)), "{runtime}: {error:?}");
        assert!(
            error.to_string().starts_with("exec: \"foo\": executable file not found in $PATH"),
            "{error}"
        );
        let error = node.start(&node.command("path", &["/bin/foo"])).await.unwrap_err();
        assert!(error.to_string().contains("no such file or directory"), "{error}");
        let error = node.start(&node.command("perm", &["/etc/passwd"])).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
        let mut spec = node.command("mount", &["true"]);
        spec.mounts.push(wharf_runtime::spec::Mount {
            kind: wharf_runtime::spec::MountKind::Bind {
                source: "/no/such/source".into(),
                propagation: wharf_runtime::spec::Propagation::Rprivate,
                non_recursive: false,
            },
            target: "/x".into(),
            read_only: false,
        });
        let error = node.start(&spec).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("no such file or directory"), "{runtime}: {error}");
        assert!(matches!(node.shims.wait("mount").await, Err(RuntimeError::NotFound(_))));
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_script_without_interpreter_is_a_failed_start() {
    let node = Node::new("wharf");
    let script = node.rootfs.join("bin/broken");
    std::fs::write(&script, "#!/no/such/shell\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = node.start(&node.command("broken", &["broken"])).await.unwrap_err();
    assert!(matches!(error, CreateError::Command(_)), "{error:?}");
    node.assert_clean().await;
}

#[tokio::test]
async fn names_and_ids_are_checked() {
    let node = Node::new("wharf");
    for id in ["", "../x", ".hidden", "a/b", &"x".repeat(65)] {
        let error = node.start(&node.command(id, &["true"])).await.unwrap_err();
        assert!(matches!(error, CreateError::Invalid(_)), "{id:?}: {error:?}");
        assert!(matches!(node.shims.wait(id).await, Err(RuntimeError::NotFound(_))));
    }
    node.start(&node.command("twice", &["sleep", "100"])).await.unwrap();
    let error = node.start(&node.command("twice", &["sleep", "100"])).await.unwrap_err();
    assert!(matches!(error, CreateError::Exists(_)));
    node.shims.delete("twice").await.unwrap();
    node.assert_clean().await;
}

#[tokio::test]
async fn an_agent_that_comes_back_finds_what_runs_and_what_ended() {
    for runtime in RUNTIMES {
        let mut node = Node::new(runtime);
        let started = node.start(&node.script("stays", "sleep 1000")).await.unwrap();
        let go = node.dir.path().join("go");
        let mut ends = node.script("ends", "while [ ! -e /host/go ]; do sleep 0.02; done; exit 3");
        ends.mounts.push(wharf_runtime::spec::Mount {
            kind: wharf_runtime::spec::MountKind::Bind {
                source: node.dir.path().into(),
                propagation: wharf_runtime::spec::Propagation::Rprivate,
                non_recursive: true,
            },
            target: "/host".into(),
            read_only: true,
        });
        let other = node.start(&ends).await.unwrap();
        // Nobody watches while it ends.
        std::fs::write(&go, "").unwrap();
        until("the container's end", || !is_alive(other.pid)).await;
        node.restart_agent();
        let exit = within(node.shims.wait("ends")).await.unwrap();
        assert_eq!((exit.code, exit.lost), (3, false));
        let mut listed = node.shims.list().await.unwrap();
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0].status, Status::Exited(exit));
        assert_eq!(listed[1].status, Status::Running(started.clone()));
        assert!(is_alive(started.pid));
        for id in ["stays", "ends"] {
            within(node.shims.delete(id)).await.unwrap();
        }
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_killed_shim_is_noticed_and_its_container_ended() {
    for runtime in RUNTIMES {
        let mut node = Node::new(runtime);
        let waited = node.start(&node.script("waited", "sleep 1000 & sleep 1000")).await.unwrap();
        let found = node.start(&node.script("found", "sleep 1000")).await.unwrap();
        let shims = node.shims.clone();
        let waiter = tokio::spawn(async move { shims.wait("waited").await });
        for id in ["waited", "found"] {
            let path = node.dir.path().join("run").join(id);
            for pid in common::processes_with(path.to_str().unwrap()) {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
            }
        }
        let exit = within(waiter).await.unwrap().unwrap();
        assert!(exit.lost && !is_alive(waited.pid), "{runtime}: {exit:?}");
        node.restart_agent();
        let listed = node.shims.list().await.unwrap();
        let lost = |id: &str| {
            let status = &listed.iter().find(|l| l.id == id).unwrap().status;
            matches!(status, Status::Exited(exit) if exit.lost && exit.code == 137)
        };
        assert!(lost("found") && lost("waited"), "{listed:?}");
        assert!(!is_alive(found.pid));
        for id in ["waited", "found"] {
            within(node.shims.delete(id)).await.unwrap();
        }
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn logs_are_rotated_and_long_lines_cut() {
    let node = Node::new("wharf");
    let script = "i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done; \
                  head -c 40000 /dev/zero | tr '\\0' x; echo; echo end";
    let spec = node.script("logs", script);
    let log = LogOptions { max_size: Some(60_000), max_files: 3 };
    node.start_with_log(&spec, log).await.unwrap();
    within(node.shims.wait("logs")).await.unwrap();
    let path = node.shims.log_path("logs");
    let dir = path.parent().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["json.log", "json.log.1", "json.log.2"]);
    let mut entries = Vec::new();
    for file in ["json.log.2", "json.log.1", "json.log"] {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        entries.extend(text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()));
    }
    let long: Vec<usize> = entries
        .iter()
        .map(|e| e["log"].as_str().unwrap())
        .filter(|l| l.starts_with('x'))
        .map(str::len)
        .collect();
    assert_eq!(long, [16384, 16384, 7233]);
    assert_eq!(entries.last().unwrap()["log"], "end\n");
    within(node.shims.delete("logs")).await.unwrap();
    assert!(path.exists(), "logs stay until they are removed");
    node.shims.remove_logs("logs").await.unwrap();
    assert!(!dir.exists());
    node.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once() {
    let node = Node::new("wharf");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..30 {
        let spec = node.script(&format!("many-{n}"), &format!("exit {n}"));
        let request = wharf_runtime::api::CreateRequest { spec, runtime: None, log: LogOptions::default() };
        let shims = node.shims.clone();
        tasks.spawn(async move {
            shims.create(request).await.unwrap();
            let exit = shims.wait(&format!("many-{n}")).await.unwrap();
            assert_eq!(exit.code, n);
            shims.delete(&format!("many-{n}")).await.unwrap();
        });
    }
    while let Some(result) = within(tasks.join_next()).await {
        result.unwrap();
    }
    node.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_on_their_way_are_not_taken_for_lost() {
    let node = Node::new("wharf");
    let shims = node.shims.clone();
    let specs: Vec<_> = (0..20).map(|n| node.command(&format!("new-{n}"), &["sleep", "100"])).collect();
    let creator = tokio::spawn(async move {
        for spec in specs {
            let request =
                wharf_runtime::api::CreateRequest { spec, runtime: None, log: LogOptions::default() };
            shims.create(request).await.unwrap();
        }
    });
    while !creator.is_finished() {
        for listed in node.shims.list().await.unwrap() {
            assert!(matches!(listed.status, Status::Running(_)), "{listed:?}");
        }
    }
    creator.await.unwrap();
    // More clients at once than a shim takes only have to wait for each other.
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let shims = node.shims.clone();
        askers.spawn(async move { shims.signal("new-0", libc::SIGWINCH).await.unwrap() });
    }
    while let Some(result) = within(askers.join_next()).await {
        result.unwrap();
    }
    let listed = node.shims.list().await.unwrap();
    assert!(listed.len() == 20 && listed.iter().all(|l| matches!(l.status, Status::Running(_))));
    for n in 0..20 {
        within(node.shims.delete(&format!("new-{n}"))).await.unwrap();
    }
    node.assert_clean().await;
}

#[tokio::test]
async fn a_long_run_directory_is_no_problem() {
    let node = Node::new("wharf");
    let long = node.dir.path().join("d".repeat(100)).join("e".repeat(60));
    let config = wharf_runtime::client::ShimsConfig {
        shim: env!("CARGO_BIN_EXE_wharf-shim").into(),
        run_dir: long.join("run"),
        log_dir: long.join("log"),
        runtimes: wharf_runtime::runtimes::Runtimes::default(),
        host: node.host.clone(),
    };
    let shims = wharf_runtime::client::Shims::new(config).unwrap();
    let request = wharf_runtime::api::CreateRequest {
        spec: node.script("far", "sleep 1000"),
        runtime: None,
        log: LogOptions::default(),
    };
    shims.create(request).await.unwrap();
    shims.signal("far", libc::SIGKILL).await.unwrap();
    assert_eq!(within(shims.wait("far")).await.unwrap().signal, Some(9));
    within(shims.delete("far")).await.unwrap();
}
