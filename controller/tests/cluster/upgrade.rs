//! A running cluster whose controllers are upgraded one at a time. The older version is played by this one, told to know
//! no more than the first level, on a log that the real one wrote (`proto/tests/fixtures/level1`).

use crate::{
    harness::{Client, Cluster, PATIENCE, TIMINGS, controllers, eventually, request_id, services},
    load::Load,
};
use tonic::{Code, Status};
use wharf_cluster::level::Level;
use wharf_controller::{Controller, ControllerError};
use wharf_proto::v1::SetControllerVotesRequest;

/// The entries that the first level's version wrote.
fn fixture() -> Vec<Vec<u8>> {
    let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
    let lines = include_str!("../../../proto/tests/fixtures/level1/log.txt").lines();
    lines.map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

/// Something that the first level doesn't know.
async fn demote(client: &Client, name: &str) -> Result<(), Status> {
    let request =
        SetControllerVotesRequest { request_id: request_id(), controller: name.to_owned(), votes: false };
    client.clone().set_controller_votes(request).await.map(drop)
}

/// What each controller knows, and what the cluster uses.
async fn levels(cluster: &Cluster) -> (Vec<u32>, u32) {
    eventually("levels", || async {
        let shown = controllers(&mut cluster.any_client().await).await.ok()?;
        let known: Vec<u32> = shown.iter().map(|one| one.level).collect();
        let used = shown.first()?.cluster_level;
        known.iter().all(|level| *level > 0).then_some((known, used))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_upgraded_one_controller_at_a_time() {
    let entries = fixture();
    let mut cluster = Cluster::founded_by(&entries[0], Level::FIRST).await;
    for entry in &entries[1..] {
        // Some were refused when they were written, too.
        let applied = cluster.controller(0).core().raft.propose(entry.clone()).await.unwrap();
        drop(applied.output);
    }
    for _ in 1..3 {
        cluster.join(TIMINGS).await;
    }
    cluster.wait_for_voters(3).await;
    assert_eq!(levels(&cluster).await, (vec![1, 1, 1], 1));
    let before = services(&mut cluster.any_client().await).await.unwrap();
    assert!(before.iter().any(|service| service.name == "shop/web"), "{before:?}");

    let load = Load::start(&cluster);
    for (member, known) in [(0, vec![2, 1, 1]), (1, vec![2, 2, 1]), (2, vec![2, 2, 2])] {
        load.progress().await;
        let refused = demote(&cluster.any_client().await, "c3").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("every controller is upgraded"), "{refused}");

        cluster.take(member).stop().await.unwrap();
        cluster.settings[member].max_level = Level::NEWEST;
        cluster.restart(member).await;
        cluster.wait_for_voters(3).await;
        eventually("what they know", || async { (levels(&cluster).await.0 == known).then_some(()) }).await;
    }
    eventually("the next level", || async { (levels(&cluster).await.1 == 2).then_some(()) }).await;
    load.progress().await;
    demote(&cluster.any_client().await, "c3").await.unwrap();
    load.progress().await;
    load.finish(&cluster).await;
    let after = services(&mut cluster.any_client().await).await.unwrap();
    assert!(after.iter().any(|service| service.name == "shop/web"), "{after:?}");

    goes_not_back(cluster).await;
}

/// Who knows less than the cluster uses can't join any more, nor come back.
async fn goes_not_back(mut cluster: Cluster) {
    cluster.max_level = Level::FIRST;
    let refused = cluster.try_join(TIMINGS).await.map(drop).unwrap_err();
    assert!(matches!(refused, ControllerError::Join(_)), "{refused}");
    assert!(refused.to_string().contains("upgrade it"), "{refused}");

    let member = cluster.follower().await;
    cluster.kill(member).await;
    let settings =
        wharf_controller::settings::Settings { max_level: Level::FIRST, ..cluster.settings[member].clone() };
    let stopped = match Controller::start(settings).await {
        Ok(started) => {
            let ended = tokio::time::timeout(PATIENCE, started.run_until(std::future::pending())).await;
            ended.expect("it stops by itself").unwrap_err()
        }
        Err(refused) => refused,
    };
    let stopped = stopped.to_string();
    assert!(stopped.contains("level 2") && stopped.contains("upgrade"), "{stopped}");
    // It has changed nothing of its data.
    cluster.restart(member).await;
    let mut client = cluster.client(member).await;
    eventually("the upgraded one is back", || async { controllers(&mut client.clone()).await.ok() }).await;
    assert!(!services(&mut client).await.unwrap().is_empty());
}
