//! `wharf apply`, `scale` and `rm`: plans, questions, waiting, and giving up.

use crate::support::{Cluster, Picture, plan, service, task};
use tokio::sync::watch;
use tonic::Status;
use wharf_proto::v1::{Object, Rollout, Service, object};

const STACK: &str = "name: shop\nservices:\n  web:\n    image: web:1\n";

/// A cluster that knows the plan for the stack, whose file is there.
fn planned(version: u64) -> Cluster {
    let cluster = Cluster::start(1);
    cluster.write("stack.yaml", STACK);
    *cluster.script.plan.lock().unwrap() = plan(version, "shop/web");
    cluster
}

fn change(object: Object, change: impl FnOnce(&mut Service)) -> Object {
    let Some(object::Object::Service(mut service)) = object.object else { panic!("a service is changed") };
    change(&mut service);
    Object { object: Some(object::Object::Service(service)) }
}

/// Shows pictures one after another, each when the one before has been seen.
fn play(pictures: Vec<Picture>) -> impl Fn(&watch::Sender<Picture>) + Send + 'static {
    move |objects| {
        let (objects, pictures) = (objects.clone(), pictures.clone());
        tokio::spawn(async move {
            for picture in pictures {
                objects.send_replace(picture);
                tokio::task::yield_now().await;
            }
        });
    }
}

#[test]
fn a_stack_is_planned_applied_against_that_version_and_followed_until_it_runs() {
    let cluster = planned(4);
    cluster.script.when_written(play(vec![
        vec![service("shop/web", 0, 1)],
        vec![service("shop/web", 1, 1), task("shop/web.1", "t1", "running", "")],
    ]));
    let outcome = cluster.run(&["apply", "--yes", "-f", "stack.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.out.contains("+ create     shop/web  1 task new"), "{}", outcome.out);
    assert!(outcome.out.contains("shop/web  a1  1  .1"), "{}", outcome.out);
    assert!(outcome.err.contains("shop/web: 1 of 1"), "{}", outcome.err);
    let applied = cluster.script.applied.lock().unwrap();
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0].expected_version, Some(4));
    let spec = applied[0].spec.as_ref().unwrap();
    assert_eq!((spec.name.as_str(), spec.services.len()), ("shop", 1));
}

#[test]
fn a_plan_alone_changes_nothing() {
    let cluster = planned(0);
    for args in [&["plan", "-f", "stack.yaml"][..], &["apply", "--plan", "-f", "stack.yaml"]] {
        assert!(cluster.run(args).ok().starts_with("Stack shop is new.\n"));
    }
    let json: serde_json::Value =
        serde_json::from_str(&cluster.run(&["plan", "-f", "stack.yaml", "-o", "json"]).ok()).unwrap();
    assert_eq!(json["placements"][0]["node"], "a1");
    cluster.run(&["apply", "-f", "stack.yaml"]).failed(2, &["--yes"]);
    assert_eq!(cluster.script.writes(), []);
}

#[test]
fn a_stack_that_changed_since_it_was_planned_is_a_conflict() {
    let cluster = planned(1);
    cluster.script.when_written(|_| panic!("nothing is applied"));
    let message = "stack shop has changed since it was planned: plan again";
    cluster.script.refuse(Status::aborted(message));
    cluster.run(&["apply", "--yes", "-f", "stack.yaml"]).failed(5, &[message]);
}

#[test]
fn tasks_that_fail_again_and_again_end_the_wait_with_their_reason() {
    let cluster = planned(0);
    let failed = |number: u32| task("shop/web.1", &format!("t{number}"), "failed", "no such image web:1");
    cluster.script.when_written(play(vec![
        vec![service("shop/web", 0, 1)],
        (1..=3).map(failed).chain([service("shop/web", 0, 1)]).collect(),
    ]));
    // Whether the failures come before or after the first look, they are new: the service is.
    let outcome = cluster.run(&["apply", "--yes", "-f", "stack.yaml", "--timeout", "20s"]);
    outcome.failed(1, &["service shop/web: shop/web.1 failed 3 times: no such image web:1"]);
}

#[test]
fn an_update_that_is_rolled_back_is_a_failure_but_an_old_one_is_not() {
    let rolled_back = |since| {
        change(service("shop/web", 1, 1), |service| {
            let (state, message) = ("rolled back".to_owned(), "1 of 1 new tasks failed".to_owned());
            service.rollout = Some(Rollout { state, message, since, ..Rollout::default() });
        })
    };
    let cluster = planned(1);
    cluster.script.set(vec![rolled_back(5)]);
    cluster.run(&["apply", "--yes", "-f", "stack.yaml"]).ok();
    cluster.script.when_written(move |objects| {
        objects.send_replace(vec![rolled_back(9)]);
    });
    let outcome = cluster.run(&["apply", "--yes", "-f", "stack.yaml"]);
    outcome.failed(1, &["shop/web", "rolled back", "1 of 1 new tasks failed"]);
}

#[test]
fn a_wait_that_takes_too_long_says_what_is_missing() {
    let cluster = planned(0);
    cluster.script.when_written(|objects| {
        let waiting = task("shop/web.1", "t1", "pending", "3 of 3 nodes: not enough memory");
        objects.send_replace(vec![service("shop/web", 0, 1), waiting]);
    });
    let outcome = cluster.run(&["apply", "--yes", "-f", "stack.yaml", "--timeout", "1s"]);
    outcome.failed(1, &["after 1s", "shop/web.1 is pending: 3 of 3 nodes: not enough memory"]);
}

#[test]
fn what_the_stack_no_longer_has_is_waited_for_until_it_is_gone() {
    let cluster = planned(1);
    let leaving = || change(service("shop/old", 0, 0), |service| service.removing = true);
    cluster.script.set(vec![service("shop/web", 1, 1), service("shop/old", 1, 1)]);
    cluster.script.when_written(play(vec![
        vec![service("shop/web", 1, 1), leaving()],
        vec![service("shop/web", 1, 1)],
    ]));
    cluster.run(&["apply", "--yes", "-f", "stack.yaml", "--timeout", "20s"]).ok();
}

#[test]
fn ports_through_the_cluster_are_said_to_be_of_the_node_for_now() {
    let cluster = planned(0);
    cluster.write("stack.yaml", &format!("{STACK}    ports: [\"8080:80\"]\n"));
    let outcome = cluster.run(&["apply", "--yes", "--detach", "-f", "stack.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let warning = "ports of web are published on the node that runs each task (mode: host)";
    assert!(outcome.err.contains(warning), "{}", outcome.err);
    let applied = cluster.script.applied.lock().unwrap();
    let template = applied[0].spec.as_ref().unwrap().services["web"].template.as_ref().unwrap();
    let port = &template.container.as_ref().unwrap().ports[0];
    assert_eq!((port.target, port.published), (80, Some(8080)));
}

#[test]
fn a_bad_file_is_explained_and_nothing_is_asked() {
    let cluster = planned(0);
    cluster.write("bad.yaml", "name: bad\nservices:\n  web:\n    imag: x\n");
    let outcome = cluster.run(&["apply", "--yes", "-f", "bad.yaml"]);
    assert!(outcome.code == 1 || outcome.code == 2, "{outcome:#?}");
    assert!(outcome.err.contains("bad.yaml:4:5") && outcome.err.contains("image"), "{outcome:#?}");
    cluster.run(&["apply", "--yes", "-f", "missing.yaml"]).failed(1, &["missing.yaml"]);
    cluster.run(&["apply", "--yes"]).failed(2, &["-f"]);
    assert_eq!(cluster.script.writes(), []);
}

#[test]
fn scaling_down_waits_until_what_is_too_much_has_stopped() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![service("shop/web", 2, 2)]);
    let stopping = task("shop/web.2", "t2", "running", "");
    let stopping = match stopping.object {
        Some(object::Object::Task(mut task)) => {
            task.desired = "shutdown".to_owned();
            Object { object: Some(object::Object::Task(task)) }
        }
        _ => panic!("it is a task"),
    };
    cluster.script.when_written(move |objects| {
        objects.send_replace(vec![service("shop/web", 1, 1), stopping.clone()]);
    });
    cluster.run(&["scale", "web=1", "--timeout", "1s"]).failed(1, &["not everything runs"]);
    cluster.script.when_written(|objects| {
        objects.send_replace(vec![service("shop/web", 1, 1)]);
    });
    cluster.run(&["scale", "web=1", "--timeout", "20s"]).ok();
}

#[test]
fn removing_waits_until_nothing_is_left() {
    let leaving = || change(service("shop/web", 0, 0), |service| service.removing = true);
    for (args, what) in [
        (&["rm", "shop", "--yes"][..], "remove stack"),
        (&["rm", "service", "web", "--yes"], "remove service"),
    ] {
        let cluster = Cluster::start(1);
        cluster.script.set(vec![service("shop/web", 1, 1)]);
        cluster.script.when_written(play(vec![vec![leaving()], vec![]]));
        cluster.run(args).ok();
        let writes = cluster.script.writes();
        assert_eq!((writes.len(), writes[0].0), (1, what));
    }
    let cluster = Cluster::start(1);
    cluster.script.set(vec![service("shop/web", 1, 1)]);
    cluster.script.when_written(move |objects| {
        objects.send_replace(vec![leaving()]);
    });
    cluster
        .run(&["rm", "shop", "--yes", "--timeout", "1s"])
        .failed(1, &["stack shop is not gone yet", "shop/web"]);
}

#[test]
fn draining_waits_until_the_node_is_empty() {
    let cluster = Cluster::start(1);
    cluster.script.when_written(|objects| {
        objects.send_replace(vec![task("shop/web.1", "t1", "running", "")]);
    });
    cluster.run(&["node", "drain", "a1", "--timeout", "1s"]).failed(1, &["1 tasks are still on a1"]);
    cluster.script.when_written(play(vec![vec![task("shop/web.1", "t1", "shutdown", "")]]));
    cluster.run(&["node", "drain", "a1", "--timeout", "20s"]).ok();
}
