//! From a task and an image to a container, case by case.

use super::*;
use std::collections::BTreeMap;
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{DesiredState, Mount, MountKind, Reservation, Resources, Ulimit};
use wharf_image::Healthcheck;

fn task(spec: ContainerSpec) -> Assigned {
    Assigned {
        id: TaskId(35),
        name: "shop/web.3".into(),
        stack: "shop".into(),
        service: "shop/web".into(),
        slot: 3,
        desired: DesiredState::Running,
        container: Ok(spec),
        resources: Resources::default(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn image() -> ImageConfig {
    ImageConfig { entrypoint: words("/entry -v"), cmd: words("serve all"), ..ImageConfig::default() }
}

fn site(rootfs: &Path) -> Site<'_> {
    Site {
        rootfs,
        netns: Some(Path::new("/run/netns/z")),
        files: Path::new("/run/files"),
        mounts: Vec::new(),
        cgroup_parent: "/wharf/c.1",
        node: "node-1",
    }
}

#[test]
fn commands_merge_as_dockers_do() {
    let merged = |entrypoint: Option<&str>, command: Option<&str>| {
        let spec = ContainerSpec {
            entrypoint: entrypoint.map(words),
            command: command.map(words),
            ..ContainerSpec::default()
        };
        args(&spec, &image()).map(|args| args.join(" "))
    };
    assert_eq!(merged(None, None).unwrap(), "/entry -v serve all");
    assert_eq!(merged(None, Some("check")).unwrap(), "/entry -v check");
    assert_eq!(merged(Some("/bin/sh"), None).unwrap(), "/bin/sh");
    assert_eq!(merged(Some("/bin/sh"), Some("-c ls")).unwrap(), "/bin/sh -c ls");
    assert_eq!(merged(Some(""), Some("ls")).unwrap(), "ls");
    assert!(merged(Some(""), None).unwrap_err().to_string().contains("give command or entrypoint"));
}

#[test]
fn the_tasks_environment_wins_over_wharfs_and_that_over_the_images() {
    let mut image = image();
    image.env = words("PATH=/image MODE=image WHARF_STACK=forged");
    let spec = ContainerSpec {
        environment: BTreeMap::from([("MODE".to_owned(), "task".to_owned())]),
        ..ContainerSpec::default()
    };
    let env = environment(&task(spec.clone()), &spec, &image, "node-1");
    assert!(env.contains(&"PATH=/image".to_owned()));
    assert!(env.contains(&"MODE=task".to_owned()) && !env.contains(&"MODE=image".to_owned()));
    assert!(env.contains(&"WHARF_STACK=shop".to_owned()));
    assert!(env.contains(&"WHARF_TASK_NAME=shop/web.3".to_owned()));
}

#[test]
fn host_names_are_made_of_task_names() {
    assert_eq!(hostname(None, "shop/web.3"), "web.3");
    assert_eq!(hostname(None, "shop/My_App.1"), "my-app.1");
    assert_eq!(hostname(Some("db"), "shop/web.3"), "db");
    assert_eq!(hostname(None, "shop/___"), "task");
    assert!(hostname(None, &"x".repeat(200)).len() <= 63);
}

#[test]
fn a_container_has_all_that_its_task_says() {
    let mut limited = task(ContainerSpec {
        working_dir: Some("srv".into()),
        user: Some("web".into()),
        ulimits: BTreeMap::from([("NOFILE".to_owned(), Ulimit { soft: 10, hard: -1 })]),
        ..ContainerSpec::default()
    });
    limited.resources = Resources {
        limits: Reservation { nano_cpus: 500_000_000, memory: 64 << 20 },
        pids_limit: 10,
        reservations: Reservation { nano_cpus: 250_000_000, memory: 0 },
    };
    let spec = limited.container.clone().unwrap();
    let made = container(&limited, &spec, &image(), site(Path::new("/rootfs"))).unwrap();
    assert_eq!(made.id, "z");
    assert_eq!(made.cwd, Path::new("/srv"));
    assert_eq!(made.user, runtime::User::Name("web".into()));
    assert_eq!(made.network, runtime::Network::Path("/run/netns/z".into()));
    assert_eq!(made.hostname.as_deref(), Some("web.3"));
    assert_eq!(made.resources.nano_cpus, Some(500_000_000));
    assert_eq!(made.resources.cpu_shares, Some(256));
    assert_eq!((made.resources.memory, made.resources.memory_reservation), (Some(64 << 20), None));
    assert_eq!(made.resources.pids, Some(10));
    assert_eq!(made.ulimits, [runtime::Ulimit { name: "nofile".into(), soft: 10, hard: u64::MAX }]);
    assert_eq!(made.annotations["wharf.service"], "shop/web");
    assert_eq!(made.cgroup_path(), "/wharf/c.1/z");
}

#[test]
fn the_nodes_own_network_keeps_the_nodes_host_name() {
    let spec = ContainerSpec { network_mode: NetworkMode::Host, ..ContainerSpec::default() };
    let made = container(&task(spec.clone()), &spec, &image(), site(Path::new("/r"))).unwrap();
    assert_eq!((made.network, made.hostname), (runtime::Network::Host, None));
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let spec = ContainerSpec {
        ulimits: BTreeMap::from([("nofile".to_owned(), Ulimit { soft: -5, hard: 1 })]),
        ..ContainerSpec::default()
    };
    let refused = container(&task(spec.clone()), &spec, &image(), site(Path::new("/r"))).unwrap_err();
    assert!(refused.to_string().contains("-5"), "{refused}");
}

#[test]
fn signals_come_from_task_image_or_default() {
    let mut image = image();
    let mut spec = ContainerSpec::default();
    assert_eq!(stop_signal(&spec, &image), Ok(libc::SIGTERM));
    image.stop_signal = "SIGQUIT".into();
    assert_eq!(stop_signal(&spec, &image), Ok(libc::SIGQUIT));
    spec.stop_signal = Some("int".into());
    assert_eq!(stop_signal(&spec, &image), Ok(libc::SIGINT));
    spec.stop_signal = Some("SIGNOPE".into());
    assert!(stop_signal(&spec, &image).unwrap_err().to_string().contains("stop_signal"));
}

#[test]
fn the_images_health_check_counts_unless_the_task_says_otherwise() {
    let mut image = image();
    let mut spec = ContainerSpec::default();
    assert_eq!(health_check(&spec, &image), None);
    image.healthcheck =
        Some(Healthcheck { test: words("CMD /check"), interval: 2_000_000_000, ..Healthcheck::default() });
    let check = health_check(&spec, &image).unwrap();
    assert_eq!(check.test, HealthTest::Exec(words("/check")));
    assert_eq!((check.interval, check.timeout, check.retries, check.start_period), (2000, 30_000, 3, 0));
    spec.healthcheck = Some(HealthCheck { test: HealthTest::Disabled, ..check });
    assert_eq!(health_check(&spec, &image), None);
}

#[test]
fn image_volumes_that_nothing_covers_are_anonymous() {
    let mut image = image();
    image.volumes = vec!["/data/".into(), "/cache".into()];
    let volume = MountKind::Volume { name: Some("shop_data".into()), nocopy: false };
    let spec = ContainerSpec {
        mounts: vec![Mount { kind: volume, target: "/data".into(), read_only: false }],
        ..ContainerSpec::default()
    };
    let wanted = wanted_mounts(TaskId(35), &spec, &image, Path::new("/v")).unwrap();
    let folders: Vec<_> = wanted
        .iter()
        .map(|w| match &w.source {
            Source::Volume { folder, .. } => (w.target.to_str().unwrap(), folder.to_str().unwrap()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(folders, [("/data", "/v/shop_data/_data"), ("/cache", "/v/.anonymous/z/0/_data")]);
}

#[test]
fn targets_that_lead_out_are_refused() {
    for target in ["/a/../..", "a", "/"] {
        let kind = MountKind::Tmpfs { size: None, mode: None };
        let spec = ContainerSpec {
            mounts: vec![Mount { kind, target: target.into(), read_only: false }],
            ..ContainerSpec::default()
        };
        assert!(wanted_mounts(TaskId(1), &spec, &image(), Path::new("/v")).is_err(), "{target}");
    }
}

#[test]
fn hosts_and_resolvers_fit_the_container() {
    let extra = [("db".to_owned(), "10.0.0.9".to_owned()), ("node".to_owned(), "host-gateway".to_owned())];
    let text = hosts("10.89.0.5".parse().ok(), "10.89.0.1".parse().ok(), "web.3", &extra);
    assert!(text.contains("10.89.0.5\tweb.3 web\n"), "{text}");
    assert!(text.contains("10.0.0.9\tdb\n") && text.contains("10.89.0.1\tnode\n"), "{text}");
    let node = "search lan\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver ::1\n";
    assert_eq!(resolv_conf(node, true), "search lan\nnameserver 9.9.9.9\n");
    assert_eq!(resolv_conf(node, false), node);
}
