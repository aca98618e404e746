//! Several files into one project: `-f` twice, `extends`, `include`, variables and their files.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use std::path::Path;

use common::{Files, input, load_all, project};
use wharf_compose::{Deploy, HealthTest, MountKind, NetworkMode, RestartCondition, load, to_yaml};

const BASE: &str = r#"
name: shop
services:
  web:
    image: nginx
    command: [a, b]
    environment: [A=1, B=1]
    labels: {x: "1"}
    ports: ["80:80", "443:443"]
    volumes: [data:/data, ./conf:/conf]
    cap_add: [NET_ADMIN]
    logging: {driver: json-file, options: {max-size: 10m}}
    healthcheck: {test: one, interval: 5s}
    deploy:
      replicas: 2
      placement: {constraints: [node.labels.a==1]}
      resources: {limits: {memory: 64m, cpus: 1}}
volumes: {data: {}}
"#;

fn over(text: &str) -> wharf_compose::Service {
    let files = Files::new([("compose.yaml", BASE), ("over.yaml", text)]);
    let loaded = load_all(&files, &["compose.yaml", "over.yaml"]).unwrap_or_else(|error| panic!("{error}"));
    loaded.project.services["web"].clone()
}

#[test]
fn later_files_win_key_by_key() {
    let web = over(
        r#"
services:
  web:
    image: caddy
    command: c
    environment: {B: 2, C: 3}
    labels: [y=2]
    ports: ["8080:80", "80:80"]
    volumes: ["./other:/conf:ro", more:/more]
    cap_add: [NET_ADMIN, SYS_TIME]
    logging: {options: {max-file: 2}}
    healthcheck: {test: two}
    deploy:
      replicas: 3
      placement: {constraints: [node.labels.b==2, node.labels.a==1]}
      resources: {limits: {memory: 128m}}
volumes: {more: {}}
"#,
    );
    assert_eq!(web.image, "caddy");
    assert_eq!(web.command.unwrap(), ["c"]);
    let environment: Vec<_> = web.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["A=1", "B=2", "C=3"]);
    assert_eq!(web.labels.len(), 2);
    let ports: Vec<_> = web.ports.iter().map(|port| (port.published.unwrap(), port.target)).collect();
    assert_eq!(ports, [(443, 443), (8080, 80), (80, 80)]);
    let targets: Vec<_> = web.volumes.iter().map(|mount| (mount.target.as_str(), mount.read_only)).collect();
    assert_eq!(targets, [("/data", false), ("/conf", true), ("/more", false)]);
    assert_eq!(web.cap_add, ["NET_ADMIN", "SYS_TIME"]);
    let logging = web.logging.unwrap();
    assert_eq!((logging.max_size, logging.max_file), (Some(10 << 20), Some(2)));
    let check = web.healthcheck.unwrap();
    assert_eq!(check.test, Some(HealthTest::Shell("two".into())));
    assert_eq!(check.interval.unwrap().as_secs(), 5);
    assert_eq!(web.deploy.replicas, Some(3));
    let constraints: Vec<_> = web.deploy.placement.constraints.iter().map(ToString::to_string).collect();
    assert_eq!(constraints, ["node.labels.a==1", "node.labels.b==2"]);
    let limits = web.deploy.resources.limits;
    assert_eq!((limits.memory, limits.nano_cpus), (Some(128 << 20), Some(1_000_000_000)));
}

#[test]
fn another_log_driver_replaces_the_options() {
    let web = over("services: {web: {logging: {driver: local}}}");
    assert_eq!(web.logging.unwrap().max_size, None);
}

#[test]
fn reset_takes_away_and_override_replaces() {
    let web = over(
        r#"
services:
  web:
    command: !reset null
    ports: !override ["1:1"]
    environment: {A: !reset null}
    deploy: !reset {}
    healthcheck: !override {test: NONE}
"#,
    );
    assert_eq!(web.command, None);
    assert_eq!(web.ports.len(), 1);
    assert_eq!(web.environment.keys().collect::<Vec<_>>(), ["B"]);
    assert_eq!(web.deploy, Deploy::default());
    let check = web.healthcheck.unwrap();
    assert_eq!((check.test, check.interval), (Some(HealthTest::Disabled), None));
}

#[test]
fn a_whole_service_can_be_taken_away() {
    let files = Files::new([
        ("a.yaml", "name: x\nservices: {a: {image: a}, b: {image: b}}"),
        ("b.yaml", "services: {a: !reset null}"),
    ]);
    let project = load_all(&files, &["a.yaml", "b.yaml"]).unwrap().project;
    assert_eq!(project.services.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn services_extend_services_here_and_in_other_files() {
    let files = Files::new([
        (
            "compose.yaml",
            r#"
name: x
services:
  base: {image: one, environment: {A: 1, B: 1}, volumes: [./d:/d]}
  web:
    extends: base
    environment: {B: 2}
  far:
    extends: {service: job, file: common/base.yaml}
    command: own
"#,
        ),
        (
            "common/base.yaml",
            r#"
services:
  unrelated: {build: ., privileged: true, image: "${NOT_ASKED_FOR:?}"}
  root: {image: two, volumes: ["./here:/here"], restart: "no"}
  job: {extends: {service: root}, command: theirs, labels: [a=b]}
"#,
        ),
    ]);
    let project = load_all(&files, &["compose.yaml"]).unwrap_or_else(|error| panic!("{error}")).project;
    let web = &project.services["web"];
    assert_eq!(
        (web.image.as_str(), web.environment["A"].as_str(), web.environment["B"].as_str()),
        ("one", "1", "2")
    );
    assert_eq!(project.services["base"].environment["B"], "1");
    let far = &project.services["far"];
    assert_eq!((far.image.as_str(), far.command.as_ref().unwrap()[0].as_str()), ("two", "own"));
    assert_eq!(far.labels["a"], "b");
    assert_eq!(far.deploy.restart_policy.unwrap().condition, RestartCondition::None);
    let source = |service: &str| match &project.services[service].volumes[0].kind {
        MountKind::Bind { source, .. } => source.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(source("far"), "/work/common/here");
    assert_eq!(source("web"), "/work/d");
}

#[test]
fn extending_in_circles_over_files_is_refused() {
    let files = Files::new([
        ("compose.yaml", "name: x\nservices: {a: {extends: {service: b, file: b.yaml}}}"),
        ("b.yaml", "services: {b: {extends: {service: a, file: compose.yaml}}}"),
    ]);
    let error = load_all(&files, &["compose.yaml"]).unwrap_err();
    assert!(error.contains("services extend one another: a -> b -> a"), "{error}");
}

#[test]
fn included_projects_keep_their_own_folder_and_variables() {
    let files = Files::new([
        (
            "compose.yaml",
            r#"
name: main
include:
  - db/compose.yaml
  - path: [cache/a.yaml, cache/b.yaml]
    project_directory: cache/dir
    env_file: cache/vars
services:
  web: {image: "web:${TAG:-none}", extends: {service: proxy}}
  proxy2: {image: x, extends: postgres}
"#,
        ),
        (".env", "SHARED=outer\n"),
        ("db/.env", "TAG=16\nSHARED=inner\n"),
        (
            "db/compose.yaml",
            r#"
name: not-this-one
services:
  postgres: {image: "postgres:${TAG}", volumes: ["./init:/init", "pg:/data"], environment: {S: "${SHARED}"}}
  proxy: {image: proxy, labels: [l=1]}
volumes: {pg: {}}
"#,
        ),
        ("cache/vars", "SIZE=64m\n"),
        ("cache/a.yaml", "services: {redis: {image: redis, volumes: ['./r:/r']}}"),
        ("cache/b.yaml", "services: {redis: {mem_limit: '${SIZE}'}}"),
    ]);
    let project = load_all(&files, &["compose.yaml"]).unwrap_or_else(|error| panic!("{error}")).project;
    assert_eq!(project.name, "main");
    let postgres = &project.services["postgres"];
    assert_eq!((postgres.image.as_str(), postgres.environment["S"].as_str()), ("postgres:16", "outer"));
    let text = to_yaml(&project).unwrap();
    assert!(text.contains("source: /work/db/init"), "{text}");
    assert!(text.contains("source: /work/cache/dir/r"), "{text}");
    assert!(text.contains("name: main_pg"), "{text}");
    let redis = &project.services["redis"];
    assert_eq!(redis.deploy.resources.limits.memory, Some(64 << 20));
    assert_eq!(project.services["web"].labels["l"], "1");
    assert_eq!(project.services["web"].image, "web:none");
}

#[test]
fn the_same_part_from_two_sides_must_be_the_same() {
    let shared = "services: {db: {image: postgres}}";
    let both = "name: x\ninclude: [a.yaml, b.yaml]\nservices: {web: {image: web}}";
    let same = Files::new([("compose.yaml", both), ("a.yaml", shared), ("b.yaml", shared)]);
    assert_eq!(load_all(&same, &["compose.yaml"]).unwrap().project.services.len(), 2);
    let other = "services: {db: {image: mysql}}";
    let differ = Files::new([("compose.yaml", both), ("a.yaml", shared), ("b.yaml", other)]);
    let error = load_all(&differ, &["compose.yaml"]).unwrap_err();
    assert!(error.contains("services.db is defined here and, differently, in an included file"), "{error}");
}

#[test]
fn inclusion_in_circles_and_without_end_is_refused() {
    let files = Files::new([
        ("compose.yaml", "name: x\ninclude: [a.yaml]"),
        ("a.yaml", "include: [b.yaml]"),
        ("b.yaml", "include: [a.yaml]"),
    ]);
    let error = load_all(&files, &["compose.yaml"]).unwrap_err();
    assert!(
        error.contains("files include one another: compose.yaml -> a.yaml -> b.yaml -> a.yaml"),
        "{error}"
    );
    // Each file includes the next one ten times: without a bound, ten to the twelfth files.
    let wide: Vec<(String, String)> = (0..12)
        .map(|n| {
            (format!("/work/{n}.yaml"), format!("include: [{}]", format!("{}.yaml, ", n + 1).repeat(10)))
        })
        .collect();
    let source = |path: &Path| {
        let found = wide.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| text.clone().into_bytes()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let error = load(&input(&["0.yaml"]), &source).unwrap_err().to_string();
    assert!(error.contains("too many files are read"), "{error}");
}

#[test]
fn environment_files_go_below_environment() {
    let files = Files::new([
        (
            "compose.yaml",
            r#"
name: x
services:
  a:
    image: a
    env_file: [one.env, {path: two.env}, {path: absent.env, required: false}, {path: raw.env, format: raw}]
    environment: [C=own, HOME, NOWHERE, D]
"#,
        ),
        ("one.env", "A=1\nB=1\nC=1\nD=file\n"),
        ("two.env", "B='2 # $x'\nE=${A:-unset}\n"),
        ("raw.env", "R='${x}'\n"),
    ]);
    let loaded = load_all(&files, &["compose.yaml"]).unwrap_or_else(|error| panic!("{error}"));
    let environment = &loaded.project.services["a"].environment;
    let pairs: Vec<_> = environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(pairs, ["A=1", "B=2 # $x", "C=own", "D=file", "E=unset", "HOME=/home/me", "R='${x}'"]);
    let warnings: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        warnings,
        ["services.a.environment: \"NOWHERE\" has no value here or outside and is left out"]
    );
}

#[test]
fn variables_come_from_the_environment_then_from_files() {
    let files = Files::new([
        ("compose.yaml", "services: {a: {image: '${A}-${B}-${C:-c}', hostname: '${COMPOSE_PROJECT_NAME}'}}"),
        (".env", "A=file\nB=file\n"),
        ("other.env", "C=other\n"),
    ]);
    let mut input = input(&["compose.yaml"]);
    input.environment.insert("A".into(), "outside".into());
    let service =
        |input: &wharf_compose::LoadInput| load(input, &files).unwrap().project.services["a"].clone();
    assert_eq!(service(&input).image, "outside-file-c");
    assert_eq!(service(&input).hostname.unwrap(), "work");
    input.env_files = Some(vec!["other.env".into()]);
    assert_eq!(service(&input).image, "outside--other");
    input.env_files = Some(vec!["gone.env".into()]);
    assert!(load(&input, &files).unwrap_err().to_string().contains("cannot read \"gone.env\""));
}

#[test]
fn the_name_is_looked_for_in_order() {
    let named = Files::new([("My App/compose.yaml", "name: '${N:-file}'\nservices: {a: {image: a}}")]);
    let unnamed = Files::new([("My App/compose.yaml", "services: {a: {image: a}}")]);
    let mut input = input(&["My App/compose.yaml"]);
    let name = |input: &wharf_compose::LoadInput, files: &Files| load(input, files).map(|l| l.project.name);
    assert_eq!(name(&input, &unnamed).unwrap(), "myapp");
    assert_eq!(name(&input, &named).unwrap(), "file");
    input.environment.insert("COMPOSE_PROJECT_NAME".into(), "outside".into());
    assert_eq!(name(&input, &named).unwrap(), "outside");
    input.project_name = Some("given".into());
    assert_eq!(name(&input, &named).unwrap(), "given");
    input.project_name = Some("Not Legal".into());
    assert!(name(&input, &named).unwrap_err().to_string().contains("\"Not Legal\" is no project name"));
}

#[test]
fn typed_values_may_come_from_variables() {
    let project = project(
        "name: x\nservices: {a: {image: a, init: '${I:-true}', ports: ['${P:-8080}:80'], deploy: {replicas: '${R:-3}'}}}",
    );
    let a = &project.services["a"];
    assert_eq!((a.init, a.ports[0].published, a.deploy.replicas), (true, Some(8080), Some(3)));
}

#[test]
fn a_network_is_there_only_when_used() {
    let project =
        project("name: x\nservices: {a: {image: a, network_mode: host}, b: {image: b, network_mode: none}}");
    assert!(project.networks.is_empty());
    assert_eq!(project.services["a"].network_mode, NetworkMode::Host);
}

#[test]
fn standard_input_is_a_file_too() {
    let source = |path: &Path| match path.to_str() {
        Some("-") => Ok(b"services: {a: {image: a, volumes: ['./x:/x']}}".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let project = load(&input(&["-"]), &source).unwrap().project;
    assert_eq!(project.name, "work");
    assert!(to_yaml(&project).unwrap().contains("source: /work/x"));
}

#[test]
fn extensions_are_ignored_and_ours_are_not() {
    let project = project(
        "name: x\nx-a: ${NOT_READ:?}\nservices: {a: {image: a, x-b: 1, deploy: {x-c: [], placement: {x-wharf-strategy: binpack}}}}",
    );
    assert_eq!(project.services["a"].deploy.placement.strategy, wharf_compose::Strategy::Binpack);
}
