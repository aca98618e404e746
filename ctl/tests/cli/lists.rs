//! What lists, watches and logs print.

use crate::cluster::{Cluster, Ran, task};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

async fn with_tasks() -> Cluster {
    let cluster = Cluster::start(1).await;
    let tasks = [task("shop/web", 1, "running", ""), task("shop/web", 2, "failed", "exit code 3")];
    cluster.script().objects.extend(tasks);
    cluster
}

#[tokio::test]
async fn lists_are_tables_names_or_one_array() {
    let cluster = with_tasks().await;
    let ran = cluster.wharf(&["get", "tasks"]).await.expect(0);
    let expected = "\
NAME        NODE  STATE    DESIRED  AGE  MESSAGE
shop/web.1  a1    running  running
shop/web.2  a1    failed   running       exit code 3
";
    assert_eq!(ran.out, expected);
    assert_eq!(ran.err, "");

    let ran = cluster.wharf(&["get", "ps", "-o", "name"]).await.expect(0);
    assert_eq!(ran.out, "shop/web.1\nshop/web.2\n");

    let ran = cluster.wharf(&["get", "tasks", "-o", "json"]).await.expect(0);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(json[1]["name"], "shop/web.2");
    assert_eq!(json[1]["message"], "exit code 3");

    // An empty list is still a list.
    let ran = cluster.wharf(&["get", "nodes", "-o", "json"]).await.expect(0);
    assert_eq!(ran.out, "[]\n");
    let ran = cluster.wharf(&["get", "tasks", "-o", "yaml"]).await.expect(0);
    assert!(ran.out.starts_with("- id:"), "{}", ran.out);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let cluster = with_tasks().await;
    let mut child = cluster.command(&["get", "tasks"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let ran = Ran::new(output).expect(0);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn an_interrupted_watch_ends_quietly_with_130() {
    let cluster = with_tasks().await;
    let mut child = cluster.command(&["get", "tasks", "-w"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap().unwrap();
    }
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let ran = Ran::new(output).expect(130);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn logs_carry_the_names_of_their_tasks() {
    let cluster = with_tasks().await;
    let ran = cluster.wharf(&["logs", "-t", "shop/web"]).await.expect(0);
    let expected = "\
shop/web.1 | 1970-01-01T00:00:01.000000000Z hello
shop/web.2 | 1970-01-01T00:00:02.000000000Z there
";
    assert_eq!(ran.out, expected);
}
