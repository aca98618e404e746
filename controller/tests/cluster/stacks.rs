//! A stack's way through the system.

use crate::{
    agent::Agent,
    harness::{Cluster, apply, eventually, request_id, running, services, shop, tasks},
};
use std::collections::BTreeMap;
use tonic::Code;
use wharf_proto::v1::{self, ApplyStackRequest, GetRequest, ScaleServicesRequest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_runs_scales_and_goes() {
    let cluster = Cluster::start(1).await;
    let agents = [Agent::start(&cluster, "one").await, Agent::start(&cluster, "two").await];
    let mut client = cluster.client(0).await;

    apply(&mut client, shop(4)).await.unwrap();
    let tasks_now = running(&client, 4).await;
    let mut by_node: BTreeMap<&str, u32> = BTreeMap::new();
    for task in &tasks_now {
        *by_node.entry(&task.node).or_default() += 1;
    }
    assert_eq!(by_node, [("one", 2), ("two", 2)].into());
    let service = &services(&mut client).await.unwrap()[0];
    assert_eq!((service.name.as_str(), service.running, service.desired), ("shop/web", 4, 4));

    let scale = |replicas| ScaleServicesRequest {
        request_id: request_id(),
        replicas: [("shop/web".to_owned(), replicas)].into(),
    };
    client.scale_services(scale(9)).await.unwrap();
    running(&client, 9).await;
    client.scale_services(scale(1)).await.unwrap();
    running(&client, 1).await;

    let remove = v1::RemoveStackRequest { request_id: request_id(), stack: "shop".to_owned() };
    client.remove_stack(remove).await.unwrap();
    eventually("nothing is left", || async {
        let mut client = client.clone();
        let tasks = tasks(&mut client, GetRequest { all: true, ..GetRequest::default() }).await.ok()?;
        let services = services(&mut client).await.ok()?;
        (tasks.is_empty() && services.is_empty()).then_some(())
    })
    .await;
    for agent in &agents {
        agent.wait("the agent holds nothing", |seen| seen.held.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_codes_that_clients_know() {
    let cluster = Cluster::start(1).await;
    let mut client = cluster.client(0).await;
    let version = apply(&mut client, shop(1)).await.unwrap().version;
    assert_eq!(version, 1);

    let stale = ApplyStackRequest {
        request_id: request_id(),
        spec: Some(shop(2)),
        expected_version: Some(version + 7),
    };
    assert_eq!(client.apply_stack(stale).await.unwrap_err().code(), Code::Aborted);
    let missing = v1::RemoveStackRequest { request_id: request_id(), stack: "none".to_owned() };
    assert_eq!(client.remove_stack(missing).await.unwrap_err().code(), Code::NotFound);
    let malformed = v1::RemoveServiceRequest { request_id: request_id(), service: "noslash".to_owned() };
    assert_eq!(client.remove_service(malformed).await.unwrap_err().code(), Code::InvalidArgument);
    let nameless = v1::RemoveStackRequest { request_id: vec![1].into(), stack: "shop".to_owned() };
    let refused = client.remove_stack(nameless).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("request_id"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_without_a_node_says_why() {
    let cluster = Cluster::start(1).await;
    let _agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(0).await;
    let mut spec = shop(1);
    let template = spec.services.get_mut("web").unwrap().template.as_mut().unwrap();
    template.placement = Some(v1::Placement {
        constraints: vec!["node.labels.disk==ssd".to_owned()],
        ..v1::Placement::default()
    });
    let plan = v1::PlanStackRequest { spec: Some(spec.clone()) };
    let planned = client.plan_stack(plan).await.unwrap().into_inner();
    assert_eq!((planned.version, planned.placements.len(), planned.unplaced.len()), (0, 0, 1));
    assert!(planned.unplaced[0].reason.contains("disk"), "{planned:?}");

    apply(&mut client, spec).await.unwrap();
    let why = eventually("a reason", || async {
        let mut client = client.clone();
        let tasks = tasks(&mut client, GetRequest::default()).await.ok()?;
        tasks.into_iter().find(|task| task.state == "pending").map(|task| task.message)
    })
    .await;
    assert!(why.contains("node.labels.disk==ssd"), "{why}");

    let label = v1::SetNodeLabelsRequest {
        request_id: request_id(),
        node: "one".to_owned(),
        set: [("disk".to_owned(), "ssd".to_owned())].into(),
        remove: Vec::new(),
    };
    client.set_node_labels(label).await.unwrap();
    running(&client, 1).await;
}
