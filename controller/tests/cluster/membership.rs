//! Controllers that are removed, demoted, promoted and replaced while clients write and agents hold their sessions.

use crate::{
    agent::Agent,
    harness::{
        Client, Cluster, PATIENCE, TIMINGS, apply, controllers, eventually, of_kind, request_id, running,
        shop,
    },
    load::Load,
};
use tonic::{Code, Status};
use wharf_controller::{Controller, ControllerError};
use wharf_proto::v1::{
    self, GetRequest, Kind, RemoveControllerRequest, RemoveNodeRequest, SetControllerVotesRequest,
};

fn removal(name: &str, force: bool) -> RemoveControllerRequest {
    RemoveControllerRequest { request_id: request_id(), controller: name.to_owned(), force }
}

async fn remove(client: &Client, name: &str, force: bool) -> Result<(), Status> {
    client.clone().remove_controller(removal(name, force)).await.map(drop)
}

async fn set_votes(client: &Client, name: &str, votes: bool) -> Result<(), Status> {
    let request = SetControllerVotesRequest { request_id: request_id(), controller: name.to_owned(), votes };
    client.clone().set_controller_votes(request).await.map(drop)
}

/// What a controller has become, as the leader sees it.
async fn shown(cluster: &Cluster, name: &str) -> v1::Controller {
    eventually("the controllers", || async {
        let all = controllers(&mut cluster.any_client().await).await.ok()?;
        all.into_iter().find(|controller| controller.name == name)
    })
    .await
}

async fn wait_for_level(cluster: &Cluster) {
    eventually("the newest level", || async {
        let all = controllers(&mut cluster.any_client().await).await.ok()?;
        all.iter().all(|one| one.level > 1 && one.cluster_level == one.level).then_some(())
    })
    .await;
}

/// Waits until the leader has noticed that a controller is gone.
async fn wait_until_silent(client: &Client, name: &str) {
    eventually("the lost one is noticed", || async {
        let request = GetRequest { stale: true, ..of_kind(Kind::Controller) };
        let found = client.clone().get(request).await.ok()?.into_inner().objects;
        let lost = |object: &v1::Object| {
            matches!(&object.object, Some(v1::object::Object::Controller(c)) if c.name == name && !c.reachable)
        };
        found.iter().any(lost).then_some(())
    })
    .await;
}

async fn ends_as_removed(controller: Controller) {
    let ended = tokio::time::timeout(PATIENCE, controller.run_until(std::future::pending())).await;
    let ended = ended.expect("a removed controller ends by itself");
    assert!(matches!(ended, Err(ControllerError::Removed)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_removed_under_load() {
    let mut cluster = Cluster::start(3).await;
    let agent = Agent::start(&cluster, "one").await;
    apply(&mut cluster.any_client().await, shop(2)).await.unwrap();
    running(&cluster.any_client().await, 2).await;
    let load = Load::start(&cluster);
    load.progress().await;

    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let name = cluster.settings[leader].name.clone();
    let mut client = cluster.client(follower).await;
    let ended = tokio::spawn(ends_as_removed(cluster.take(leader)));
    let request = removal(&name, false);
    let first = client.remove_controller(request.clone()).await.unwrap();
    // By its name, which nobody has any more: the first answer, not a miss.
    client.remove_controller(request).await.unwrap();
    assert_eq!(remove(&client, &name, false).await.unwrap_err().code(), Code::NotFound);
    assert!(first.get_ref().index > 0);
    ended.await.unwrap();
    cluster.wait_for_voters(2).await;
    load.progress().await;

    agent.wait("a session with the new leader", |seen| seen.full >= 2).await;
    apply(&mut client, shop(3)).await.unwrap();
    running(&client, 3).await;
    load.finish(&cluster).await;
}

/// What strands a Swarm (moby 34384): its leader is demoted, and asked itself to do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_leader_strands_nobody_and_can_be_promoted_again() {
    let cluster = Cluster::start(3).await;
    wait_for_level(&cluster).await;
    let agent = Agent::start(&cluster, "one").await;
    apply(&mut cluster.any_client().await, shop(2)).await.unwrap();
    running(&cluster.any_client().await, 2).await;
    let load = Load::start(&cluster);
    load.progress().await;

    let leader = cluster.leader().await;
    let name = cluster.settings[leader].name.clone();
    let client = cluster.client(leader).await;
    set_votes(&client, &name, false).await.unwrap();
    assert_ne!(cluster.leader().await, leader);
    agent.wait("a session with the new leader", |seen| seen.full >= 2).await;
    load.progress().await;

    // It stays a learner, though it has all of the log, and serves writes, reads and everything else.
    apply(&mut client.clone(), shop(3)).await.unwrap();
    running(&client, 3).await;
    load.progress().await;
    let demoted = shown(&cluster, &name).await;
    assert!(demoted.role == "learner" && demoted.demoted && demoted.reachable, "{demoted:?}");
    let voters = cluster.controller(leader).core().raft.status().borrow().voters.len();
    assert_eq!(voters, 2);

    // A demoted one may go too, and needs no majority for it; here it comes back.
    set_votes(&client, &name, true).await.unwrap();
    cluster.wait_for_voters(3).await;
    assert!(!shown(&cluster, &name).await.demoted);
    load.progress().await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_controllers_are_replaced_one_by_one_under_load() {
    let mut cluster = Cluster::start(3).await;
    let _agent = Agent::start(&cluster, "one").await;
    apply(&mut cluster.any_client().await, shop(1)).await.unwrap();
    running(&cluster.any_client().await, 1).await;
    let load = Load::start(&cluster);
    for old in 0..3 {
        load.progress().await;
        let new = cluster.join(TIMINGS).await;
        cluster.wait_for_voters(4).await;
        load.knows(cluster.address(new));
        let name = cluster.settings[old].name.clone();
        let ended = tokio::spawn(ends_as_removed(cluster.take(old)));
        remove(&cluster.client(new).await, &name, false).await.unwrap();
        ended.await.unwrap();
        cluster.wait_for_voters(3).await;
    }
    load.progress().await;
    apply(&mut cluster.any_client().await, shop(2)).await.unwrap();
    running(&cluster.any_client().await, 2).await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_lose_the_majority_is_refused() {
    let mut cluster = Cluster::start(1).await;
    wait_for_level(&cluster).await;
    let client = cluster.client(0).await;
    for refused in [remove(&client, "c1", true).await, set_votes(&client, "c1", false).await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("the only one that votes"), "{refused}");
    }

    cluster.join(TIMINGS).await;
    cluster.join(TIMINGS).await;
    cluster.wait_for_voters(3).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader).await;
    let mut others = (0..3).filter(|member| *member != leader);
    let (lost, other) = (others.next().unwrap(), others.next().unwrap());
    let name = |member: usize| cluster.settings[member].name.clone();
    let (leader_name, lost_name, other_name) = (name(leader), name(lost), name(other));
    cluster.kill(lost).await;
    wait_until_silent(&client, &lost_name).await;
    for (what, refused) in [
        ("rm", remove(&client, &other_name, true).await),
        ("demote", set_votes(&client, &other_name, false).await),
        ("rm of the leader", remove(&client, &leader_name, true).await),
        ("demotion of the leader", set_votes(&client, &leader_name, false).await),
    ] {
        let refused = refused.expect_err(what);
        assert_eq!(refused.code(), Code::FailedPrecondition, "{what}: {refused}");
        assert!(refused.message().contains(&lost_name), "{what}: {refused}");
    }

    // A dead one can go, but who says so has to mean it.
    let refused = remove(&client, &lost_name, false).await.unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("--force"), "{refused}");
    remove(&client, &lost_name, true).await.unwrap();
    cluster.wait_for_voters(2).await;

    // It learns of it when it is back, and doesn't wait for a leader for ever.
    let settings = cluster.settings[lost].clone();
    ends_as_removed(Controller::start(settings).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_was_removed_while_it_was_off_learns_of_it() {
    let mut cluster = Cluster::start(2).await;
    wait_for_level(&cluster).await;
    let follower = cluster.follower().await;
    let name = cluster.settings[follower].name.clone();
    let client = cluster.client(cluster.leader().await).await;
    set_votes(&client, &name, false).await.unwrap();
    cluster.kill(follower).await;
    wait_until_silent(&client, &name).await;
    remove(&client, &name, true).await.unwrap();
    // It never stands for election, so nothing but its own question tells it.
    let settings = cluster.settings[follower].clone();
    ends_as_removed(Controller::start(settings).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retried_removal_of_a_node_by_its_name_gets_its_first_answer() {
    let cluster = Cluster::start(1).await;
    let _agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(0).await;
    let request = RemoveNodeRequest { request_id: request_id(), node: "one".to_owned(), force: true };
    client.remove_node(request.clone()).await.unwrap();
    client.remove_node(request.clone()).await.unwrap();
    let missing = client.remove_node(RemoveNodeRequest { request_id: request_id(), ..request }).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
}
