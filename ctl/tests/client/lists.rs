//! `wharf get` and what else shows lists.

use crate::support::{Cluster, controller, node, service, task};

#[test]
fn lists_come_in_every_form() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![node("a1", "ready"), node("a2", "down"), controller("c1", "leader")]);
    let expected = "\
NAME  STATE  AVAILABILITY  TASKS  ADDRESS  AGE  MESSAGE
a1    ready  active        0
a2    down   active        0
";
    assert_eq!(cluster.run(&["get", "nodes"]).ok(), expected);
    assert_eq!(cluster.run(&["get", "node", "a2", "-o", "name"]).ok(), "a2\n");

    let json: serde_json::Value =
        serde_json::from_str(&cluster.run(&["get", "nodes", "-o", "json"]).ok()).unwrap();
    let names: Vec<&str> =
        json.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a1", "a2"]);
    assert_eq!(json[1]["state"], "down");

    let printed = cluster.run(&["get", "controllers", "-o", "json"]).ok();
    assert!(
        printed.lines().any(|line| line.trim_end_matches(',').trim() == "\"role\": \"leader\""),
        "{printed}"
    );
    assert!(cluster.run(&["get", "nodes", "-o", "yaml"]).ok().contains("name: a1"));
    assert_eq!(cluster.run(&["node", "ls", "-o", "name"]).ok(), "a1\na2\n");
}

#[test]
fn an_empty_list_prints_nothing_that_a_script_could_take_for_something() {
    let cluster = Cluster::start(1);
    assert_eq!(cluster.run(&["get", "tasks", "--all", "-o", "name"]).ok(), "");
    assert_eq!(cluster.run(&["get", "tasks", "-o", "json"]).ok(), "[]\n");
    let table = cluster.run(&["get", "tasks"]);
    assert_eq!((table.code, table.out.as_str(), table.err.as_str()), (0, "", "nothing there\n"));
}

#[test]
fn a_watch_goes_on_at_another_controller_and_tells_only_what_became_different() {
    let mut cluster = Cluster::start(2);
    cluster.script.set(vec![node("a1", "ready"), node("a2", "ready")]);
    let mut watch = cluster.background(&["get", "nodes", "-w"]);
    assert!(watch.line().starts_with("NAME  STATE"));
    assert!(watch.line().starts_with("a1    ready"));
    assert!(watch.line().starts_with("a2    ready"));
    cluster.script.set(vec![node("a1", "ready"), node("a2", "down")]);
    assert!(watch.line().starts_with("a2    down"));

    cluster.kill(0);
    cluster.script.set(vec![node("a1", "down"), node("a3", "ready")]);
    let mut lines = [watch.line(), watch.line(), watch.line()];
    lines.sort();
    assert!(lines[0].starts_with("a1    down"), "{lines:?}");
    assert_eq!(lines[1], "a2 is gone");
    assert!(lines[2].starts_with("a3    ready"), "{lines:?}");
}

#[test]
fn services_and_tasks_need_no_stack_where_their_name_is_unique() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![
        service("shop/web", 1, 1),
        service("shop/db", 1, 1),
        service("blog/web", 1, 1),
        task("shop/db.1", "t1", "running", ""),
        task("shop/web.1", "t2", "running", ""),
    ]);
    assert_eq!(cluster.run(&["get", "services", "db", "-o", "name"]).ok(), "shop/db\n");
    assert_eq!(cluster.run(&["get", "tasks", "--service", "db", "-o", "name"]).ok(), "shop/db.1\n");
    assert_eq!(cluster.run(&["get", "tasks", "db.1", "-o", "name"]).ok(), "shop/db.1\n");
    cluster.run(&["get", "tasks", "--service", "web"]).failed(2, &["blog/web or shop/web"]);
    cluster.run(&["scale", "cache=2"]).failed(4, &["cache"]);
}

#[test]
fn a_thing_is_described_with_its_reasons() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![
        service("shop/web", 1, 2),
        task("shop/web.1", "t1", "running", ""),
        task("shop/web.2", "t2", "pending", "3 of 3 nodes: not enough memory"),
    ]);
    let text = cluster.run(&["describe", "service", "web"]).ok();
    for word in ["shop/web", "1 of 2", "shop/web.2", "3 of 3 nodes: not enough memory"] {
        assert!(text.contains(word), "\"{word}\" is missing: {text}");
    }
    let text = cluster.run(&["describe", "task", "shop/web.2"]).ok();
    assert!(text.contains("not enough memory"), "{text}");
    cluster.run(&["describe", "service", "shop/db"]).failed(4, &["shop/db"]);
}
