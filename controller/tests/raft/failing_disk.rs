//! Disks that fail under running replicas: who can't write stops, says why, and another leads.

use wharf_controller::raft::{ProposeError, RaftConfig, RaftFailure};

use crate::lossy_file::{EIO, ENOSPC, LossyFile, Survival};
use crate::replicas::Cluster;

/// Nobody but the first stands for election by himself: who leads after it was told to.
fn only_the_first_campaigns(config: RaftConfig) -> RaftConfig {
    if config.id == 1 { config } else { RaftConfig { election_ticks: 100_000, ..config } }
}

async fn failure_of(cluster: &mut Cluster, id: u64) -> RaftFailure {
    let thread = cluster.threads.remove(&id).unwrap();
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap_err()
}

/// The leader's disk fails in the middle of writing; it comes back, with or without a power loss.
async fn a_leader_fails(fail: fn(&LossyFile), reason: &str, power_loss: bool) {
    let mut cluster = Cluster::on_lossy_disks(3, only_the_first_campaigns).await;
    for round in 0..20 {
        cluster.propose(&format!("before {round}")).await;
    }
    fail(cluster.disk(1));
    let handle = cluster.handle(1);
    let writers = (0..8).map(|writer| {
        let (handle, checker) = (handle.clone(), cluster.checker.clone());
        tokio::spawn(async move {
            let command = format!("into the failure {writer}").into_bytes();
            match handle.propose(command.clone()).await {
                Ok(applied) => checker.facts().acknowledge(applied.index, command),
                // It may have reached the others.
                Err(error) => assert_eq!(error, ProposeError::Stopped),
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let failure = failure_of(&mut cluster, 1).await;
    assert!(failure.to_string().contains(reason), "{failure}");
    assert!(failure.of_store().is_some_and(wharf_controller::raft::StoreError::is_disk));
    let status = handle.status().borrow().clone();
    assert!(!status.leading && status.leader.is_none(), "{status:?}");
    assert_eq!(status.failed.as_deref(), Some(failure.to_string().as_str()));
    assert_eq!(handle.propose(b"later".to_vec()).await, Err(ProposeError::Stopped));

    let second = cluster.leader_but(&[1]).await;
    cluster.board.handles.write().unwrap().remove(&1);
    for round in 0..20 {
        cluster.propose(&format!("without it {round}")).await;
    }
    // Space is freed, or the cable sits again.
    cluster.disk(1).repair();
    if power_loss {
        let left = cluster.disk(1).after_power_loss(Survival::Random(7));
        cluster.replace_disk(1, left);
    }
    cluster.run(1);
    let index = cluster.propose("with it again").await;
    cluster.wait_for(1, |status| status.applied >= index).await;
    cluster.wait_for(second, |status| status.leading).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_hands_over_and_comes_back() {
    a_leader_fails(|disk| disk.break_now(ENOSPC), "no space is left for the raft log", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_fails_once_does_not_go_on_as_if_nothing_had_been() {
    a_leader_fails(|disk| disk.fail_next_change(EIO), "Input/output error", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_fails_stops_and_the_others_go_on() {
    let mut cluster = Cluster::on_lossy_disks(3, |config| config).await;
    cluster.propose("before").await;
    cluster.disk(3).break_now(EIO);
    for round in 0..50 {
        cluster.propose(&format!("meanwhile {round}")).await;
    }
    let failure = failure_of(&mut cluster, 3).await;
    assert!(failure.to_string().contains("Input/output error"), "{failure}");
    assert!(cluster.handle(3).status().borrow().failed.is_some());
    cluster.disk(3).repair();
    cluster.run(3);
    let index = cluster.propose("after").await;
    cluster.wait_for(3, |status| status.applied >= index).await;
}
