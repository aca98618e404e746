//! What a container finds inside: its limits, rights, mounts, user and namespaces.

mod common;

use common::{Node, RUNTIMES};
use wharf_runtime::host::CgroupMode;
use wharf_runtime::spec::{Mount, MountKind, Network, Propagation, Resources, Seccomp, Ulimit, User};

#[tokio::test]
async fn limits_hold_and_can_not_be_lifted() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let files = match node.host.cgroup_mode {
            CgroupMode::V2 => "memory.max pids.max cpu.max",
            _ => "memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us",
        };
        let lift = files.split(' ').next().unwrap();
        let script =
            format!("cd /sys/fs/cgroup; cat {files}; echo 99999999999 > {lift} || echo denied; cat {lift}");
        let mut spec = node.script("limits", &script);
        spec.resources = Resources {
            nano_cpus: Some(500_000_000),
            cpu_shares: Some(512),
            memory: Some(64 << 20),
            pids: Some(20),
            ..Resources::default()
        };
        let done = node.run(&spec).await;
        let quota = if node.host.cgroup_mode == CgroupMode::V2 { "50000 100000" } else { "50000" };
        assert_eq!(
            done.stdout,
            format!("67108864\n20\n{quota}\ndenied\n67108864\n"),
            "{runtime}: {}",
            done.stderr
        );

        let mut bomb = node.script("bomb", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait; echo all");
        bomb.resources.pids = Some(4);
        let done = node.run(&bomb).await;
        assert!(!done.stdout.contains("all") && done.stderr.contains("fork"), "{runtime}: {done:?}");
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_process_killed_for_want_of_memory_is_told_apart() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let mut spec = node.script("oom", "exec tail /dev/zero");
        spec.resources =
            Resources { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Resources::default() };
        let done = node.run(&spec).await;
        assert!(done.exit.oom_killed, "{runtime}: {done:?}");
        assert_eq!(done.exit.code, 137);
        node.assert_clean().await;
    }
}

const RIGHTS: &str = "grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status; \
    unshare -n true 2>/dev/null || echo no-unshare; mount -t tmpfs x /tmp 2>/dev/null || echo no-mount; \
    (echo forked)";

#[tokio::test]
async fn rights_are_dockers() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let done = node.run(&node.script("rights", RIGHTS)).await;
        let out = done.stdout.replace('\t', " ");
        for expected in
            ["NoNewPrivs: 1", "Seccomp: 2", "CapEff: 00000000a80425fb", "no-unshare", "no-mount", "forked"]
        {
            assert!(out.contains(expected), "{runtime}: no {expected:?} in {out}{}", done.stderr);
        }
        let mut spec = node.script("less", RIGHTS);
        spec.cap_drop = vec!["ALL".into()];
        spec.cap_add = vec!["chown".into()];
        let out = node.run(&spec).await.stdout.replace('\t', " ");
        assert!(
            out.contains("CapEff: 0000000000000001") && out.contains("CapBnd: 0000000000000001"),
            "{out}"
        );

        let mut spec = node.script("more", RIGHTS);
        spec.cap_add = vec!["SYS_ADMIN".into()];
        spec.seccomp = Seccomp::Unconfined;
        let out = node.run(&spec).await.stdout.replace('\t', " ");
        assert!(out.contains("Seccomp: 0") && !out.contains("no-unshare"), "{runtime}: {out}");

        // With the capability the default profile allows the call too.
        let mut spec = node.script("admin", RIGHTS);
        spec.cap_add = vec!["SYS_ADMIN".into()];
        let out = node.run(&spec).await.stdout.replace('\t', " ");
        assert!(out.contains("Seccomp: 2") && !out.contains("no-unshare"), "{runtime}: {out}");
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn the_filter_also_holds_without_no_new_privileges() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let mut spec = node.script("plain", RIGHTS);
        spec.no_new_privileges = false;
        let done = node.run(&spec).await;
        let out = done.stdout.replace('\t', " ");
        for expected in ["NoNewPrivs: 0", "Seccomp: 2", "no-unshare", "forked"] {
            assert!(out.contains(expected), "{runtime}: no {expected:?} in {out}{}", done.stderr);
        }
        spec.user = User::Name("web".into());
        let done = node.run(&spec).await;
        assert!(done.stdout.contains("Seccomp:\t2"), "{runtime}: {done:?}");
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_profile_of_ones_own_is_used() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let profile = node.dir.path().join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW",
            "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
        std::fs::write(&profile, text).unwrap();
        let mut spec = node.script("own", "mkdir /tmp/x && echo made; echo went on");
        spec.seccomp = Seccomp::File(profile);
        let done = node.run(&spec).await;
        assert_eq!(done.stdout, "went on\n");
        assert!(done.stderr.contains("Permission denied"), "{}", done.stderr);
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn mounts_are_as_asked_for() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let data = node.dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("given"), "from the host").unwrap();
        let bind = |target: &str, read_only: bool| Mount {
            kind: MountKind::Bind {
                source: data.clone(),
                propagation: Propagation::Rprivate,
                non_recursive: false,
            },
            target: target.into(),
            read_only,
        };
        let script = "cat /ro/given; touch /ro/x 2>/dev/null || echo ro-denied; touch /rw/made; \
            touch /x 2>/dev/null || echo root-denied; touch /scratch/x && echo scratch; \
            grep ' /scratch ' /proc/mounts; df -k /dev/shm | tail -1; cat /etc/hosts; touch /proc/sys/kernel/x \
            2>/dev/null || echo sys-denied; cat /proc/kcore 2>&1 | head -c 1; ls /dev";
        let mut spec = node.script("mounts", script);
        spec.read_only = true;
        spec.mounts = vec![bind("/ro", true), bind("/rw", false)];
        spec.mounts.push(Mount {
            kind: MountKind::Tmpfs { size: Some(1 << 20), mode: Some(0o700), options: vec!["exec".into()] },
            target: "/scratch".into(),
            read_only: false,
        });
        spec.shm_size = Some(2 << 20);
        let hosts = node.dir.path().join("hosts");
        std::fs::write(&hosts, "10.0.0.9 other\n").unwrap();
        spec.hosts_file = Some(hosts);
        let done = node.run(&spec).await;
        let out = &done.stdout;
        for expected in
            ["from the host", "ro-denied", "root-denied", "scratch\n", "size=1024k", "2048", "10.0.0.9 other"]
        {
            assert!(out.contains(expected), "{runtime}: no {expected:?} in {out}{}", done.stderr);
        }
        for expected in ["sys-denied", "null", "pts", "tty", "urandom"] {
            assert!(out.contains(expected), "{runtime}: no {expected:?} in {out}");
        }
        let scratch = out.lines().find(|l| l.contains(" /scratch ")).unwrap();
        assert!(
            scratch.contains("nosuid") && scratch.contains("nodev") && !scratch.contains("noexec"),
            "{scratch}"
        );
        assert!(data.join("made").exists() && !node.rootfs.join("x").exists());
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn users_are_found_in_the_image() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let mut spec =
            node.script("user", "id -u; id -g; id -G; echo $HOME; pwd; grep CapEff /proc/self/status");
        spec.user = User::Name("web".into());
        spec.cwd = "/srv/app".into();
        let done = node.run(&spec).await;
        let out = done.stdout.replace('\t', " ");
        assert_eq!(
            out, "101\n102\n102 200\n/home/web\n/srv/app\nCapEff: 0000000000000000\n",
            "{}",
            done.stderr
        );
        let mut spec = node.script("number", "id -u; id -g; echo $HOME");
        spec.user = User::Name("5000:6000".into());
        assert_eq!(node.run(&spec).await.stdout, "5000\n6000\n/\n");
        let mut spec = node.script("nobody", "id");
        spec.user = User::Name("no-such-user".into());
        let error = node.start(&spec).await.unwrap_err();
        assert!(error.to_string().contains("no-such-user"), "{error}");
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn names_limits_and_parameters_of_the_kernel() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let script = "hostname; ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; \
            cat /proc/sys/kernel/shm_rmid_forced; cat /proc/self/oom_score_adj; echo $FOO $HOSTNAME; umask; \
            trap '' PIPE; grep SigIgn /proc/self/status; ls -l /proc/self/fd | wc -l";
        let mut spec = node.script("kernel", script);
        spec.hostname = Some("box".into());
        spec.ulimits = vec![Ulimit { name: "nofile".into(), soft: 100, hard: 200 }];
        spec.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
        spec.oom_score_adj = Some(500);
        spec.env = vec!["FOO=a b".into()];
        let done = node.run(&spec).await;
        let out = done.stdout.replace('\t', " ");
        // ls itself has its directory open, and prints a line for the total.
        let expected = "box\n100\n200\n0\n1\n500\na b box\n0022\nSigIgn: 0000000000001000\n5\n";
        assert_eq!(out, expected, "{runtime}: {}", done.stderr);
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn network_namespaces_are_the_hosts_a_given_one_or_new() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let namespace = |path: &str| std::fs::read_link(path).unwrap().to_str().unwrap().to_owned();
        let script = "readlink /proc/self/ns/net; grep -c : /proc/net/dev";
        let mut spec = node.script("net", script);
        spec.network = Network::Host;
        let host = node.run(&spec).await.stdout;
        assert!(host.starts_with(&namespace("/proc/self/ns/net")), "{host}");

        spec.network = Network::Isolated;
        let isolated = node.run(&spec).await.stdout;
        assert!(
            isolated.ends_with("\n1\n") && !isolated.starts_with(&namespace("/proc/self/ns/net")),
            "{isolated}"
        );

        // The namespace of a thread that waits, as good as one bound to a file.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (path_sender, path_receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            path_sender.send(format!("/proc/{}/ns/net", nix::unistd::gettid())).unwrap();
            let _ = receiver.recv();
        });
        let path = path_receiver.recv().unwrap();
        let expected = namespace(&path);
        spec.network = Network::Path(path.into());
        let given = node.run(&spec).await.stdout;
        drop(sender);
        thread.join().unwrap();
        assert!(given.starts_with(&expected), "{runtime}: {given} is not {expected}");
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn init_reaps_and_passes_signals_on() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let script = "(sleep 0.05 &) ; trap 'echo got; exit 9' TERM; echo $$ $(cat /proc/1/comm); \
            n=0; while [ $n -lt 100 ]; do ls /proc | grep -c '^[0-9]' > /tmp/n; sleep 0.01; n=$((n+1)); done; \
            grep -l zombie /proc/[0-9]*/status; echo ready; while :; do sleep 0.05; done";
        let mut spec = node.script("init", script);
        spec.init = true;
        node.start(&spec).await.unwrap();
        node.wait_for_output("init", "ready").await;
        use wharf_runtime::api::ContainerRuntime;
        let stop = node.shims.stop("init", libc::SIGTERM, common::DEADLINE);
        assert_eq!(common::within(stop).await.unwrap().code, 9);
        let out = node.logged("init", "stdout");
        let first = out.lines().next().unwrap();
        assert!(first.ends_with(" init") && !first.starts_with("1 "), "{out}");
        assert!(out.ends_with("ready\ngot\n") && !out.contains("/status"), "{out}");
        node.shims.delete("init").await.unwrap();
        let mut missing = node.command("missing", &["no-such-command"]);
        missing.init = true;
        assert_eq!(node.run(&missing).await.exit.code, 127);
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_terminal_is_given_to_who_asks() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let mut spec = node.script("tty", "test -t 0 && test -t 1 && test -t 2 && echo terminal $TERM");
        spec.tty = true;
        let done = node.run(&spec).await;
        assert_eq!(done.stdout, "terminal xterm\r\n", "{runtime}: {done:?}");
        let plain = node.run(&node.script("plain", "test -t 1 || echo none; cat")).await;
        assert_eq!((plain.stdout.as_str(), plain.exit.code), ("none\n", 0));
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn limits_hold_on_a_host_without_a_devices_controller() {
    let mut node = Node::new("wharf");
    if node.host.cgroup_mode == CgroupMode::V2 {
        // There the controller is not a hierarchy of its own.
        return;
    }
    node.host.cgroup_mounts.retain(|m| !m.controllers.iter().any(|c| c == "devices"));
    node.restart_agent();
    let script = "cd /sys/fs/cgroup; ls; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us";
    let mut spec = node.script("few", script);
    spec.resources = Resources {
        nano_cpus: Some(250_000_000),
        memory: Some(32 << 20),
        pids: Some(30),
        ..Resources::default()
    };
    let done = node.run(&spec).await;
    assert!(done.stdout.ends_with("33554432\n30\n25000\n") && !done.stdout.contains("devices"), "{done:?}");
    node.host = wharf_runtime::host::HostFacts::detect().unwrap();
    node.assert_clean().await;
}

#[tokio::test]
async fn what_the_host_can_not_do_is_said_before() {
    let mut node = Node::new("wharf");
    node.host.cgroup_mounts.retain(|m| !m.controllers.iter().any(|c| c == "pids"));
    node.restart_agent();
    let mut spec = node.script("pids", "true");
    spec.resources.pids = Some(10);
    let error = node.start(&spec).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("pids"), "{error}");
    spec.resources.pids = None;
    assert_eq!(node.run(&spec).await.exit.code, 0, "only what is asked for is needed");
    node.host = wharf_runtime::host::HostFacts::detect().unwrap();
    node.assert_clean().await;
}
