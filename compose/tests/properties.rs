//! No input makes the loader panic or run away, and what is printed loads to the same project.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use common::{Files, complaints, input, load_all};
use proptest::prelude::*;
use wharf_compose::{load, to_json, to_yaml};

/// Pieces of Compose files, which together reach further in than random bytes do.
const PIECES: &[&str] = &[
    "services:",
    "web:",
    "image: a",
    "ports:",
    "- 80:80",
    "volumes:",
    "environment:",
    "deploy:",
    "&a",
    "*a",
    "<<: *a",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "- ",
    "\n",
    "  ",
    "    ",
    "'",
    "\"",
    "|",
    ">",
    "!reset",
    "!override",
    "${A:-",
    "}",
    "$",
    "$$",
    "x-a:",
    "extends:",
    "include:",
    "healthcheck:",
    "test: [CMD, a]",
    "null",
    "~",
    "1",
    "true",
    "---",
    "#",
    "\t",
    "é",
    "\u{feff}",
    "? ",
    "%YAML 1.2",
    "name: x",
    "replicas: 3",
    "restart: always",
];

/// Lines of a service, right and wrong, of every kind that merges by a rule of its own.
const SERVICE_PIECES: &[&str] = &[
    "    image: a\n",
    "    command: x\n",
    "    command: [y]\n",
    "    environment: [A=1]\n",
    "    environment: {A: 2}\n",
    "    environment: x\n",
    "    ports: ['80:80', 443]\n",
    "    ports: {a: b}\n",
    "    volumes: [/a, {target: /a}, [x]]\n",
    "    tmpfs: /x\n",
    "    tmpfs: [/x, {a: b}]\n",
    "    logging: {driver: local, options: [x]}\n",
    "    logging: x\n",
    "    deploy: {placement: {constraints: [a, {b: c}]}}\n",
    "    deploy: !reset {}\n",
    "    extends: b\n",
    "    extends: {service: a, file: b.yaml}\n",
    "    ulimits: {nofile: 1}\n",
    "    ulimits: {nofile: {soft: 1, hard: 2}}\n",
    "    extra_hosts: {a: [1.1.1.1, x]}\n",
    "    extra_hosts: [a=1.1.1.1]\n",
    "    healthcheck: !override {test: NONE}\n",
    "    cap_add: !reset\n",
    "    env_file: [x, {path: [y]}]\n",
    "    networks: {default: }\n",
    "    labels:\n",
];

fn service() -> impl Strategy<Value = String> {
    let text = "[^\\x00-\\x08\\x0b-\\x1f\\x7f\u{80}-\u{9f}\u{fffe}\u{ffff}\u{feff}]{0,20}";
    (
        prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_.]{0,8}", text, 0..4),
        prop::collection::vec(text, 0..4),
        prop::collection::btree_map(1u16..=65_535, (1u16..=65_535, any::<bool>()), 0..4),
        (0u32..1000, 0u64..100_000_000_000, 6_291_456u64..1 << 40, 0u64..1 << 50),
        prop::sample::select(vec!["replicated", "global", "replicated-job", "global-job"]),
        prop::collection::vec("/[a-z]{1,8}", 0..4),
    )
        .prop_map(|(environment, command, ports, (replicas, nano_cpus, memory, nanos), mode, targets)| {
            // JSON strings are YAML strings, whatever they hold.
            let quoted = |text: &str| serde_json::to_string(&text.replace('$', "$$")).unwrap();
            let environment: Vec<_> =
                environment.iter().map(|(key, value)| format!("{key}: {}", quoted(value))).collect();
            let command: Vec<_> = command.iter().map(|word| quoted(word)).collect();
            let ports: Vec<_> = ports
                .iter()
                .map(|(published, (target, udp))| {
                    format!("\"{published}:{target}/{}\"", if *udp { "udp" } else { "tcp" })
                })
                .collect();
            let mounts: std::collections::BTreeSet<_> = targets.iter().collect();
            let mounts: Vec<_> = mounts.iter().map(|target| format!("\"./src:{target}:ro\"")).collect();
            let replicas = if mode.starts_with("global") { String::new() } else { format!("replicas: {replicas},") };
            format!(
                "{{image: a, environment: {{{}}}, labels: {{{}}}, command: [{}], ports: [{}], volumes: [{}], \
                 stop_grace_period: {nanos}ns, \
                 deploy: {{mode: {mode}, {replicas} resources: {{limits: {{cpus: {}.{:09}, memory: {memory}}}}}}}}}",
                environment.join(", "),
                environment.join(", "),
                command.join(", "),
                ports.join(", "),
                mounts.join(", "),
                nano_cpus / 1_000_000_000,
                nano_cpus % 1_000_000_000,
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = load(&input(&["compose.yaml"]), &Files::bytes(&bytes)).map_err(|error| error.to_string());
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let text = pieces.join(" ");
        let _ = load_all(&Files::new([("compose.yaml", &text)]), &["compose.yaml"]);
        let text = pieces.concat();
        let _ = load_all(&Files::new([("compose.yaml", &text)]), &["compose.yaml"]);
    }

    #[test]
    fn arbitrary_merges_never_panic(
        pieces in prop::collection::vec(prop::sample::select(SERVICE_PIECES), 0..8),
        over in prop::collection::vec(prop::sample::select(SERVICE_PIECES), 0..8),
    ) {
        let file = |pieces: &[&str]| format!("services:\n  b: {{image: b}}\n  a:\n{}", pieces.concat());
        let files = Files::new([("a.yaml", &file(&pieces)), ("b.yaml", &file(&over)), ("c.yaml", "include: [a.yaml, b.yaml]")]);
        let _ = load_all(&files, &["a.yaml", "b.yaml"]);
        let _ = load_all(&files, &["c.yaml", "a.yaml"]);
    }

    #[test]
    fn arbitrary_env_files_never_panic(text in ".{0,200}") {
        let compose = "services: {a: {image: a, env_file: a.env}}";
        let _ = load_all(&Files::new([("compose.yaml", compose), ("a.env", &text), (".env", &text)]), &["compose.yaml"]);
    }

    #[test]
    fn arbitrary_values_never_panic(
        key in prop::sample::select(vec![
            "image", "command", "ports", "volumes", "tmpfs", "extra_hosts", "user", "hostname", "restart", "mem_limit",
            "cpus", "stop_signal", "stop_grace_period", "healthcheck", "ulimits", "env_file", "extends", "sysctls",
        ]),
        value in ".{0,40}",
    ) {
        let quoted = serde_json::to_string(&value).unwrap();
        for value in [quoted.clone(), format!("[{quoted}]"), format!("{{a: {quoted}}}")] {
            let text = format!("services: {{a: {{image: a, {key}: {value}}}}}");
            let _ = load_all(&Files::new([("compose.yaml", &text)]), &["compose.yaml"]);
        }
    }

    #[test]
    fn what_is_printed_loads_to_the_same_project(services in prop::collection::vec(service(), 1..4)) {
        let services: Vec<_> =
            services.iter().enumerate().map(|(index, text)| format!("  s{index}: {text}\n")).collect();
        let first = common::project(&format!("name: x\nservices:\n{}", services.concat()));
        let yaml = to_yaml(&first).unwrap();
        prop_assert_eq!(&common::project(&yaml), &first, "{}", yaml);
        let json = to_json(&first).unwrap();
        prop_assert_eq!(&common::project(&json), &first, "{}", json);
    }
}

#[test]
fn large_inputs_are_refused_early() {
    let huge = vec![b'#'; (4 << 20) + 1];
    let error = load(&input(&["compose.yaml"]), &Files::bytes(&huge)).unwrap_err().to_string();
    assert!(error.contains("\"compose.yaml\" is larger than 4 MiB"), "{error}");

    let many: String = (0..150_000).map(|n| format!("  s{n}: {{image: a}}\n")).collect();
    assert!(complaints(&format!("services:\n{many}")).contains("too large"));

    let values = format!(
        "x-big: &big {}\nservices: {{a: {{image: a, command: [{}]}}}}",
        "y".repeat(1 << 20),
        "*big, ".repeat(5_000)
    );
    assert!(complaints(&values).contains("too large, aliases written out"));

    let ranges = "\"1-1000:1-1000\", ".repeat(10_000);
    assert!(complaints(&format!("services: {{a: {{image: a, ports: [{ranges}]}}}}")).contains("too large"));

    let chain: String = (0..100).map(|n| format!("  s{n}: {{extends: s{}}}\n", n + 1)).collect();
    assert!(
        complaints(&format!("services:\n{chain}")).contains("services extend services more than 32 deep")
    );
}

#[test]
fn large_variables_are_refused_early() {
    let mut input = input(&["compose.yaml"]);
    input.environment.insert("BIG".to_owned(), "z".repeat(100_000));
    let text = format!("services: {{a: {{image: a, command: [{}]}}}}", "\"$BIG\", ".repeat(10_000));
    let error = load(&input, &Files::bytes(text.as_bytes())).unwrap_err().to_string();
    assert!(error.contains("too large once its variables are filled in"), "{error}");
    let text = format!("services: {{a: {{image: \"{}\"}}}}", "$BIG".repeat(100));
    let error = load(&input, &Files::bytes(text.as_bytes())).unwrap_err().to_string();
    assert!(error.contains("grows beyond 1 MiB"), "{error}");
}

#[test]
fn nothing_from_a_file_steers_the_terminal() {
    let found = complaints("services: {\"\\e[31m\": {image: a}, b: {\"\\e]0;x\\a\": 1, image: \"\\e[2J\"}}");
    assert!(!found.contains('\u{1b}') && !found.contains('\u{7}'), "{found:?}");
}
