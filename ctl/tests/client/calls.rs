//! Exit codes, retries, and controllers that die.

use crate::support::{Cluster, node, service};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tonic::Status;

/// Waits until `condition` holds.
#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn exit_codes_tell_what_happened() {
    let mut cluster = Cluster::start(1);
    cluster.script.set(vec![node("a1", "ready")]);
    cluster.run(&["get", "nodes"]).ok();
    cluster.run(&["get", "ghosts"]).failed(2, &["ghosts"]);
    cluster.run(&["scale", "shop/web"]).failed(2, &["SERVICE=NUMBER"]);
    cluster.run(&["get", "nodes", "a9"]).failed(4, &["there is no node a9"]);
    for (status, code) in [
        (Status::failed_precondition("node a1 is ready: drain it first"), 1),
        (Status::invalid_argument("labels: too many"), 2),
        (Status::not_found("there is no node a1"), 4),
        (Status::aborted("it has changed since"), 5),
        (Status::already_exists("it is there already"), 5),
        (Status::permission_denied("agents may not do this"), 1),
    ] {
        let message = status.message().to_owned();
        cluster.script.refuse(status);
        cluster.run(&["node", "cordon", "a1"]).failed(code, &[&message]);
    }
    cluster.kill(0);
    let address = cluster.address(0);
    cluster.run(&["get", "nodes", "--timeout", "300ms"]).failed(3, &[&address, "wharf context ls"]);
}

#[test]
fn what_should_be_confirmed_is_not_done_when_nobody_can_answer() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![service("shop/web", 1, 1)]);
    for args in [
        &["rm", "stack", "shop"][..],
        &["node", "rm", "a1"],
        &["node", "down", "a1"],
        &["controller", "rm", "c1"],
    ] {
        cluster.run(args).failed(2, &["--yes"]);
    }
    assert_eq!(cluster.script.writes(), []);
    cluster.run(&["node", "down", "a1", "a2", "--yes"]).ok();
    assert_eq!(cluster.script.writes().len(), 1);
}

#[test]
fn a_write_is_retried_with_the_same_request_id() {
    let cluster = Cluster::start(1);
    for _ in 0..2 {
        cluster.script.refuse(Status::unavailable("no leader is known yet"));
    }
    cluster.run(&["node", "cordon", "a1"]).ok();
    cluster.run(&["node", "cordon", "a1"]).ok();
    let ids: Vec<Vec<u8>> = cluster.script.writes().into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(ids.iter().map(Vec::len).collect::<BTreeSet<_>>(), [16].into());
    assert_eq!(ids[..3].iter().collect::<BTreeSet<_>>().len(), 1, "one write has one id");
    assert_ne!(ids[2], ids[3], "another write has another one");
}

#[test]
fn a_write_goes_on_elsewhere_when_its_controller_dies_before_answering() {
    let mut cluster = Cluster::start(2);
    cluster.script.mute.send_replace(true);
    let run = cluster.background(&["node", "cordon", "a1"]);
    wait_for("the write", || cluster.script.writes().len() == 1);
    cluster.kill(0);
    wait_for("the retry", || cluster.script.writes().len() >= 2);
    cluster.script.mute.send_replace(false);
    let outcome = run.finish();
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let writes = cluster.script.writes();
    assert_eq!(writes.iter().collect::<BTreeSet<_>>().len(), 1, "the same write each time: {writes:?}");
}

#[test]
fn a_controller_that_is_dead_is_passed_over() {
    let mut cluster = Cluster::start(3);
    cluster.script.set(vec![node("a1", "ready")]);
    cluster.kill(0);
    cluster.kill(2);
    assert!(cluster.run(&["get", "nodes"]).ok().contains("a1"));
    let living = cluster.address(1);
    assert!(cluster.run(&["get", "nodes", "--controller", &living]).ok().contains("a1"));
}

#[test]
fn a_controller_of_another_cluster_is_not_spoken_to() {
    let (cluster, other) = (Cluster::start(1), Cluster::start(1));
    let outcome = cluster.run(&["get", "nodes", "--timeout", "300ms", "--controller", &other.address(0)]);
    outcome.failed(3, &["not of this cluster"]);
}

#[test]
fn tokens_stand_alone_on_standard_output() {
    let cluster = Cluster::start(1);
    assert_eq!(cluster.run(&["token", "show", "--role", "agent"]).ok(), "wharf-agent-secret\n");
}

#[test]
fn ctrl_c_ends_with_130_and_says_what_goes_on() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![node("a1", "ready")]);
    let mut watching = cluster.background(&["get", "nodes", "-w", "-o", "name"]);
    assert_eq!(watching.line(), "a1");
    kill(Pid::from_raw(watching.pid()), Signal::SIGINT).unwrap();
    let outcome = watching.finish();
    assert_eq!((outcome.code, outcome.err.as_str()), (130, ""));

    cluster.script.set(vec![service("shop/web", 1, 1)]);
    cluster.script.when_written(|objects| {
        objects.send_replace(vec![service("shop/web", 1, 3)]);
    });
    let scaling = cluster.background(&["scale", "shop/web=3"]);
    wait_for("the write", || cluster.script.writes().len() == 1);
    kill(Pid::from_raw(scaling.pid()), Signal::SIGINT).unwrap();
    scaling.finish().failed(130, &["goes on"]);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let cluster = Cluster::start(1);
    cluster.script.set((0..2000).map(|number| node(&format!("node-{number}"), "ready")).collect());
    for args in
        [&["completion", "bash"][..], &["get", "nodes", "-o", "json"], &["get", "nodes", "-o", "name"]]
    {
        let (status, said) = cluster.background(args).hang_up();
        assert!(status.success() && said.is_empty(), "{args:?}: {status} {said}");
    }
}
