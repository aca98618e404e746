//! Several controllers: joining, writing through any of them, losing the leader, starting again from disk.

use crate::{
    agent::Agent,
    harness::{
        Cluster, TIMINGS, apply, controllers, eventually, get, of_kind, request_id, running, services, shop,
        tasks,
    },
};
use tonic::Code;
use wharf_cluster::level::Level;
use wharf_controller::{ControllerError, settings::Start};
use wharf_proto::v1::{
    self, ApplyStackRequest, GetRequest, Kind, RemoveControllerRequest, TransferLeadershipRequest,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_controller_takes_a_write_and_a_retry_happens_once() {
    let cluster = Cluster::start(3).await;
    let mut follower = cluster.client(cluster.follower().await).await;
    let mut leader = cluster.client(cluster.leader().await).await;

    let request =
        ApplyStackRequest { request_id: request_id(), spec: Some(shop(1)), expected_version: Some(0) };
    let first = follower.apply_stack(request.clone()).await.unwrap().into_inner();
    // A retry would be a conflict, if it happened again: the stack has a version now.
    let again = leader.apply_stack(request).await.unwrap().into_inner();
    assert_eq!((first.version, again.version), (1, 1));

    // Linearizable: what was acknowledged is seen at once, everywhere.
    for member in 0..3 {
        let mut client = cluster.client(member).await;
        assert_eq!(services(&mut client).await.unwrap().len(), 1, "controller {member}");
    }
    // A refusal comes through as it is.
    let missing = v1::RemoveStackRequest { request_id: request_id(), stack: "none".to_owned() };
    let refused = follower.remove_stack(missing).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("none"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_controller_shows_the_same_controllers() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.address(cluster.leader().await);
    for member in 0..3 {
        let shown = controllers(&mut cluster.client(member).await).await.unwrap();
        let names: Vec<&str> = shown.iter().map(|controller| controller.name.as_str()).collect();
        assert_eq!(names, ["c1", "c2", "c3"]);
        for controller in &shown {
            assert!(controller.reachable && controller.matched > 0 && !controller.version.is_empty());
            let role = if controller.address == leader { "leader" } else { "voter" };
            assert_eq!(controller.role, role, "{controller:?} as shown by {member}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_goes_on_when_its_leader_is_lost() {
    let mut cluster = Cluster::start(3).await;
    let agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(cluster.follower().await).await;
    apply(&mut client, shop(2)).await.unwrap();
    running(&client, 2).await;

    let lost = cluster.leader().await;
    cluster.kill(lost).await;
    // The election goes on behind this call.
    let mut client = cluster.any_client().await;
    apply(&mut client, shop(3)).await.unwrap();
    running(&client, 3).await;
    assert!(agent.seen.lock().sessions >= 2);

    cluster.restart(lost).await;
    cluster.wait_for_voters(3).await;
    let mut back = cluster.client(lost).await;
    assert_eq!(tasks(&mut back, GetRequest::default()).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_stopped_as_a_whole_goes_on_from_its_disks() {
    let mut cluster = Cluster::start(3).await;
    let agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.any_client().await;
    apply(&mut client, shop(2)).await.unwrap();
    let before: Vec<String> = running(&client, 2).await.into_iter().map(|task| task.id).collect();

    let all: Vec<_> = (0..3).map(|member| cluster.take(member)).collect();
    for controller in all {
        controller.abandon().await.unwrap();
    }
    for member in 0..3 {
        cluster.restart(member).await;
    }
    agent.wait("a session with the new leader", |seen| seen.full >= 2).await;
    let client = cluster.any_client().await;
    let after: Vec<String> = running(&client, 2).await.into_iter().map(|task| task.id).collect();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_can_be_handed_over_and_a_stopping_leader_does() {
    let mut cluster = Cluster::start(3).await;
    let (leader, next) = (cluster.leader().await, cluster.follower().await);
    let mut client = cluster.client(next).await;
    let request = TransferLeadershipRequest {
        request_id: request_id(),
        controller: cluster.settings[next].name.clone(),
    };
    client.transfer_leadership(request).await.unwrap();
    eventually("the new leader", || async { (cluster.leader().await == next).then_some(()) }).await;

    cluster.take(next).stop().await.unwrap();
    let mut client = cluster.client(leader).await;
    apply(&mut client, shop(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_controller_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start(3).await;
    let gone = cluster.follower().await;
    let mut client = cluster.client(cluster.leader().await).await;
    let remove = |name: &str| RemoveControllerRequest {
        request_id: request_id(),
        controller: name.to_owned(),
        force: false,
    };
    assert_eq!(client.remove_controller(remove("none")).await.unwrap_err().code(), Code::NotFound);

    let controller = cluster.take(gone);
    let ended = tokio::spawn(controller.run_until(std::future::pending()));
    client.remove_controller(remove(&cluster.settings[gone].name)).await.unwrap();
    cluster.wait_for_voters(2).await;
    assert!(matches!(ended.await.unwrap(), Err(ControllerError::Removed)));

    // With one of the last two down, nobody else may go.
    let follower = cluster.follower().await;
    cluster.kill(follower).await;
    let name = cluster.settings[follower].name.clone();
    let leader = cluster.settings[cluster.leader().await].name.clone();
    eventually("the lost one is noticed", || async {
        let mut client = client.clone();
        let shown = client.get(GetRequest { stale: true, ..of_kind(Kind::Controller) }).await.ok()?.into_inner();
        let lost = |object: &v1::Object| {
            matches!(&object.object, Some(v1::object::Object::Controller(c)) if c.name == name && !c.reachable)
        };
        shown.objects.iter().any(lost).then_some(())
    })
    .await;
    let refused = client.remove_controller(remove(&leader)).await.unwrap_err();
    assert!(matches!(refused.code(), Code::FailedPrecondition | Code::Unavailable), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_joins_late_learns_everything() {
    let mut cluster = Cluster::start(1).await;
    apply(&mut cluster.client(0).await, shop(3)).await.unwrap();
    let token = cluster.token("controller").await.parse().unwrap();
    let start = Start::Join { addresses: cluster.addresses(), token };
    let joined = cluster.add(start, TIMINGS).await.unwrap();
    cluster.wait_for_voters(2).await;
    let mut client = cluster.client(joined).await;
    let shown = client.get(GetRequest { stale: true, ..of_kind(Kind::Service) }).await.unwrap().into_inner();
    assert_eq!(shown.objects.len(), 1);
    apply(&mut client, shop(4)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_was_interrupted_can_begin_anew() {
    let mut cluster = Cluster::start(1).await;
    let token: wharf_identity::JoinToken = cluster.token("controller").await.parse().unwrap();
    // A joiner that got its id, and was gone before it could keep it.
    let lost = wharf_identity::IdentityFolder::new(cluster.folder().join("lost"));
    let address = format!("127.0.0.1:{}", crate::harness::free_port());
    let details = wharf_identity::JoinDetails {
        role: wharf_identity::Role::Controller,
        name: "c2".to_owned(),
        advertise_address: address.clone(),
        names: Vec::new(),
        description: None,
        level: Level::NEWEST.0.into(),
    };
    wharf_identity::join(&cluster.addresses(), &token, details, &lost).await.unwrap();
    let start = Start::Join { addresses: cluster.addresses(), token };
    cluster.add_at(&address, start, TIMINGS).await.unwrap();
    cluster.wait_for_voters(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_joins_late_gets_a_snapshot() {
    let mut cluster = Cluster::start(1).await;
    let mut client = cluster.client(0).await;
    // Large changes, until the log's beginning is in a snapshot and gone from the log.
    let mut round = 0;
    while cluster.controller(0).core().raft.status().borrow().first_index < 20 {
        let mut spec = shop(1);
        let template = spec.services.values_mut().next().unwrap().template.as_mut().unwrap();
        let environment = &mut template.container.as_mut().unwrap().environment;
        for number in 0..16 {
            let mut value = format!("{round}-{number}-").repeat(100 << 10);
            value.truncate(100 << 10);
            environment.insert(format!("V{number}"), value);
        }
        apply(&mut client, spec).await.unwrap();
        round += 1;
        assert!(round < 200, "the log was never compacted");
    }
    let token = cluster.token("controller").await.parse().unwrap();
    let addresses = cluster.addresses();
    let late = cluster.add(Start::Join { addresses, token }, TIMINGS).await.unwrap();
    cluster.wait_for_voters(2).await;
    assert!(cluster.controller(late).core().raft.status().borrow().snapshot_index > 0);
    let first = get(&mut client, of_kind(Kind::Stack)).await.unwrap();
    let second = get(&mut cluster.client(late).await, of_kind(Kind::Stack)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.len(), 1);
}
