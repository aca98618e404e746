//! One file with every key that there is, and what comes of it.

use super::{cluster, compose, stack};
use crate::failure::USAGE;
use std::path::Path;

fn project(text: &str) -> compose::Project {
    let input = compose::LoadInput {
        files: vec!["stack.yaml".into()],
        working_dir: "/srv/shop".into(),
        env_files: Some(Vec::new()),
        ..compose::LoadInput::default()
    };
    let files = |_: &Path| Ok(text.as_bytes().to_vec());
    match compose::load(&input, &files) {
        Ok(loaded) => loaded.project,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

fn converted(text: &str) -> cluster::StackSpec {
    stack(&project(text)).unwrap().0
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn pairs<C: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> C {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const EVERYTHING: &str = "
name: shop
services:
  web:
    image: web:1
    entrypoint: [/app]
    command: [serve, --fast]
    environment: {MODE: production}
    labels: {of: container}
    user: '1000:1000'
    working_dir: /data
    hostname: front
    stop_signal: SIGQUIT
    stop_grace_period: 1m30s
    init: true
    read_only: true
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    ulimits: {nofile: {soft: 1024, hard: 2048}, nproc: 64}
    sysctls: {net.core.somaxconn: 1024}
    extra_hosts: ['db=10.0.0.9']
    network_mode: none
    runtime: crun
    logging: {driver: json-file, options: {max-size: 1m, max-file: '5'}}
    tmpfs: ['/run:size=64m,mode=1777,ro']
    volumes:
      - data:/data
      - /anonymous
      - {type: bind, source: /etc/ssl, target: /etc/ssl, read_only: true, bind: {propagation: rslave, create_host_path: false}}
      - {type: tmpfs, target: /tmp, tmpfs: {size: 16m}}
    healthcheck: {test: [CMD, /ok], interval: 10s, timeout: 2s, retries: 4, start_period: 20s, start_interval: 1s}
    deploy:
      mode: replicated
      replicas: 6
      endpoint_mode: dnsrr
      labels: {of: service}
      resources:
        limits: {cpus: '0.5', memory: 256m, pids: 100}
        reservations: {cpus: '0.25', memory: 128m}
      restart_policy: {condition: on-failure, delay: 2s, max_attempts: 3, window: 1m}
      placement:
        constraints: ['node.labels.disk == ssd', 'node.hostname!=a9']
        preferences: [{spread: node.labels.zone}]
        max_replicas_per_node: 2
        x-wharf-strategy: binpack
      update_config:
        {parallelism: 2, delay: 3s, failure_action: rollback, monitor: 7s, max_failure_ratio: 0.25, order: start-first}
      rollback_config: {parallelism: 0, failure_action: continue}
volumes:
  data: {labels: {keep: 'yes'}}
";

fn container() -> cluster::ContainerSpec {
    let mount = |kind, target: &str, read_only| cluster::Mount { kind, target: target.to_owned(), read_only };
    let bind = cluster::MountKind::Bind {
        source: "/etc/ssl".to_owned(),
        create_host_path: false,
        propagation: Some("rslave".to_owned()),
    };
    let tmpfs = |size: u64, mode| cluster::MountKind::Tmpfs { size: Some(size << 20), mode };
    let volume =
        |name: Option<&str>| cluster::MountKind::Volume { name: name.map(str::to_owned), nocopy: false };
    cluster::ContainerSpec {
        image: "web:1".to_owned(),
        entrypoint: Some(words(&["/app"])),
        command: Some(words(&["serve", "--fast"])),
        environment: pairs(&[("MODE", "production")]),
        labels: pairs(&[("of", "container")]),
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/data".to_owned()),
        hostname: Some("front".to_owned()),
        stop_signal: Some("SIGQUIT".to_owned()),
        stop_grace_period: 90_000,
        init: true,
        read_only: true,
        cap_add: words(&["NET_ADMIN"]),
        cap_drop: words(&["ALL"]),
        ulimits: [
            ("nofile".to_owned(), cluster::Ulimit { soft: 1024, hard: 2048 }),
            ("nproc".to_owned(), cluster::Ulimit { soft: 64, hard: 64 }),
        ]
        .into(),
        sysctls: pairs(&[("net.core.somaxconn", "1024")]),
        extra_hosts: pairs(&[("db", "10.0.0.9")]),
        mounts: vec![
            mount(volume(Some("shop_data")), "/data", false),
            mount(volume(None), "/anonymous", false),
            mount(bind, "/etc/ssl", true),
            mount(tmpfs(16, None), "/tmp", false),
            mount(tmpfs(64, Some(0o1777)), "/run", true),
        ],
        ports: Vec::new(),
        network_mode: cluster::NetworkMode::None,
        healthcheck: Some(cluster::HealthCheck {
            test: cluster::HealthTest::Exec(words(&["/ok"])),
            interval: 10_000,
            timeout: 2_000,
            retries: 4,
            start_period: 20_000,
            start_interval: 1_000,
        }),
        logging: cluster::LogConfig { max_size: 1 << 20, max_file: 5 },
        runtime: Some("crun".to_owned()),
    }
}

#[test]
fn every_key_arrives() {
    let amount = |nano_cpus, mib: u64| cluster::Reservation { nano_cpus, memory: mib << 20 };
    let expected = cluster::ServiceSpec {
        mode: cluster::Mode::Replicated { replicas: 6 },
        labels: pairs(&[("of", "service")]),
        template: cluster::TaskTemplate {
            container: container(),
            resources: cluster::Resources {
                limits: amount(500_000_000, 256),
                pids_limit: 100,
                reservations: amount(250_000_000, 128),
            },
            restart: cluster::RestartPolicy {
                condition: cluster::RestartCondition::OnFailure,
                delay: 2_000,
                max_attempts: Some(3),
                window: 60_000,
            },
            placement: cluster::Placement {
                constraints: ["node.labels.disk==ssd", "node.hostname!=a9"]
                    .map(|text| text.parse().unwrap())
                    .into(),
                preferences: vec![cluster::Preference { spread: "node.labels.zone".parse().unwrap() }],
                max_replicas_per_node: 2,
                platforms: Vec::new(),
                strategy: cluster::Strategy::Binpack,
            },
            restarted: 0,
        },
        update: cluster::UpdateConfig {
            parallelism: 2,
            delay: 3_000,
            failure_action: cluster::FailureAction::Rollback,
            monitor: 7_000,
            max_failure_ppm: 250_000,
            order: cluster::Order::StartFirst,
        },
        rollback: cluster::UpdateConfig {
            parallelism: 0,
            failure_action: cluster::FailureAction::Continue,
            ..cluster::UpdateConfig::default()
        },
        endpoint_mode: cluster::EndpointMode::Dnsrr,
    };
    let stack = converted(EVERYTHING);
    assert_eq!(stack.name, "shop");
    assert_eq!(stack.services["web"], expected);
    let volume = cluster::VolumeSpec { labels: pairs(&[("keep", "yes")]), external: false };
    assert_eq!(stack.volumes, [("shop_data".to_owned(), volume)].into());
    // What is sent is what the controller will read.
    let sent = wharf_proto::v1::StackSpec::from(&stack);
    assert_eq!(cluster::StackSpec::try_from(sent).unwrap(), stack);
}

#[test]
fn what_is_left_out_is_as_with_docker() {
    let stack = converted("name: shop\nservices: {web: {image: 'web:1'}}\n");
    let web = &stack.services["web"];
    let container = cluster::ContainerSpec {
        image: "web:1".to_owned(),
        stop_grace_period: 10_000,
        ..cluster::ContainerSpec::default()
    };
    let template = cluster::TaskTemplate { container, ..cluster::TaskTemplate::default() };
    assert_eq!(*web, cluster::ServiceSpec { template, ..cluster::ServiceSpec::default() });
}

#[test]
fn modes() {
    let job = cluster::Mode::ReplicatedJob { completions: 3, concurrent: 3 };
    for (deploy, mode) in [
        ("{}", cluster::Mode::Replicated { replicas: 1 }),
        ("{mode: global}", cluster::Mode::Global),
        ("{mode: replicated-job, replicas: 3}", job),
        ("{mode: global-job}", cluster::Mode::GlobalJob),
    ] {
        let text = format!("name: shop\nservices: {{web: {{image: a, deploy: {deploy}}}}}\n");
        let spec = converted(&text).services.remove("web").unwrap();
        assert_eq!(spec.mode, mode, "{deploy}");
        // A job that has completed is not begun again.
        let restarts = spec.template.restart.condition == cluster::RestartCondition::Any;
        assert_eq!(restarts, !mode.is_job(), "{deploy}");
    }
}

#[test]
fn ports_are_published_on_the_tasks_nodes_and_that_is_said() {
    let text = "
name: shop
services:
  web:
    image: a
    ports:
      - '80'
      - {target: 53, published: 5353, protocol: udp, mode: host, host_ip: 127.0.0.1}
";
    let (stack, remarks) = stack(&project(text)).unwrap();
    let port = |target, published, protocol, host_ip: Option<&str>| cluster::Port {
        target,
        published,
        host_ip: host_ip.map(str::to_owned),
        protocol,
    };
    let expected = [
        port(80, None, cluster::Protocol::Tcp, None),
        port(53, Some(5353), cluster::Protocol::Udp, Some("127.0.0.1")),
    ];
    assert_eq!(stack.services["web"].template.container.ports, expected);
    assert!(remarks[0].starts_with("ports of web are published on the node"), "{remarks:?}");
}

#[test]
fn what_can_not_be_carried_out_is_refused_by_name() {
    for (keys, reason) in [
        ("tmpfs: ['/run:uid=5']", "services.web: tmpfs /run: only the options"),
        ("healthcheck: {interval: 5s}", "services.web: healthcheck needs a test"),
    ] {
        let failure =
            stack(&project(&format!("name: shop\nservices: {{web: {{image: a, {keys}}}}}\n"))).unwrap_err();
        assert_eq!(failure.code, USAGE);
        assert!(failure.message.starts_with(reason), "{}", failure.message);
    }
}
