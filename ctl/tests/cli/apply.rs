//! Plans, asking, applying, waiting.

use crate::cluster::{Cluster, service, task};
use tonic::Code;
use wharf_proto::v1::{Object, PlanStackResponse, PlannedChange, PlannedPlacement, Rollout, object};

const STACK: &str = "name: shop\nservices:\n  web:\n    image: web:1\n    deploy: {replicas: 2}\n";

async fn with_plan() -> Cluster {
    let cluster = Cluster::start(1).await;
    cluster.write("stack.yaml", STACK);
    let change = PlannedChange {
        service: "shop/web".to_owned(),
        action: "create".to_owned(),
        differences: Vec::new(),
        tasks: 2,
    };
    let placement = |slot: u32| PlannedPlacement {
        service: "shop/web".to_owned(),
        task: format!("shop/web.{slot}"),
        node: format!("a{slot}"),
    };
    cluster.script().plan = PlanStackResponse {
        version: 0,
        changes: vec![change],
        placements: vec![placement(1), placement(2)],
        unplaced: Vec::new(),
    };
    cluster
}

#[tokio::test]
async fn without_a_yes_the_plan_is_all_that_happens() {
    let cluster = with_plan().await;
    let ran = cluster.wharf(&["apply", "-f", "stack.yaml"]).await.expect(2);
    let expected = "\
Stack shop is new.
  + create     shop/web  2 tasks new
New tasks go to:
  shop/web  a1  1  .1
  shop/web  a2  1  .2
";
    assert_eq!(ran.out, expected);
    assert!(ran.err.contains("say --yes"), "{}", ran.err);
    let planned = cluster.wharf(&["plan", "-f", "stack.yaml"]).await.expect(0);
    assert_eq!(planned.out, expected);
    assert!(cluster.script().writes.is_empty());
}

#[tokio::test]
async fn an_applied_stack_is_waited_for() {
    let cluster = with_plan().await;
    let tasks = [task("shop/web", 1, "running", ""), task("shop/web", 2, "running", "")];
    cluster.script().after_write = Some([&[service("shop/web", 2, 2)][..], &tasks].concat());
    let ran = cluster.wharf(&["apply", "-f", "stack.yaml", "--yes"]).await.expect(0);
    assert_eq!(ran.err, "shop/web: 2 of 2\n");
    let applied = cluster.script().applied.pop().unwrap();
    assert_eq!(applied.expected_version, Some(0), "what was planned for is what is changed");
    let spec = applied.spec.unwrap();
    assert_eq!(spec.services["web"].template.as_ref().unwrap().container.as_ref().unwrap().image, "web:1");
}

#[tokio::test]
async fn an_update_that_fails_exits_1_and_says_why() {
    let cluster = with_plan().await;
    let mut failing = service("shop/web", 1, 2);
    if let Object { object: Some(object::Object::Service(service)) } = &mut failing {
        let message = "1 of 1 tasks failed".to_owned();
        service.rollout =
            Some(Rollout { state: "paused".to_owned(), since: 9, message, ..Rollout::default() });
    }
    let failed = task("shop/web", 2, "pending", "image web:1 is not there");
    cluster.script().after_write = Some(vec![failing, failed]);
    let ran = cluster.wharf(&["apply", "-f", "stack.yaml", "--yes"]).await.expect(1);
    assert!(ran.err.contains("service shop/web: the update is paused: 1 of 1 tasks failed"), "{}", ran.err);
    assert!(ran.err.contains("shop/web.2 is pending: image web:1 is not there"), "{}", ran.err);
}

#[tokio::test]
async fn a_stack_that_another_changed_since_the_plan_is_left_alone() {
    let cluster = with_plan().await;
    cluster.script().refusals.push(("apply", Code::Aborted));
    cluster.wharf(&["apply", "-f", "stack.yaml", "--yes"]).await.expect(5);
    assert!(cluster.script().applied.is_empty());
}

#[tokio::test]
async fn a_file_with_a_mistake_is_refused_where_it_is() {
    let cluster = Cluster::start(1).await;
    cluster.write("stack.yaml", "name: shop\nservices:\n  web:\n    image: web:1\n    replcias: 3\n");
    for verb in ["apply", "plan", "config"] {
        let ran = cluster.wharf(&[verb, "-f", "stack.yaml"]).await.expect(1);
        assert!(ran.err.contains("stack.yaml:5:5: "), "{verb}: {}", ran.err);
        assert_eq!(ran.out, "");
    }
    assert!(cluster.script().writes.is_empty());
}

#[tokio::test]
async fn what_is_removed_is_waited_for() {
    let cluster = Cluster::start(1).await;
    cluster.script().objects.push(service("shop/web", 1, 1));
    let refused = cluster.wharf(&["rm", "shop"]).await.expect(2);
    assert!(refused.err.contains("Remove stack shop?"), "{}", refused.err);
    cluster.script().after_write = Some(Vec::new());
    cluster.wharf(&["rm", "stack", "shop", "--yes"]).await.expect(0);
    assert_eq!(cluster.script().writes.len(), 1);
}
