//! Replicas on real disks: writing, reading, restarts, changes of members.

use wharf_controller::raft::{ChangeError, ProposeError};

use crate::replicas::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_agree_and_any_of_them_reads_what_was_written() {
    let cluster = Cluster::start(3).await;
    for round in 0..20 {
        let index = cluster.propose(&format!("write {round}")).await;
        for id in 1..=3 {
            assert!(cluster.handle(id).read_index().await.unwrap() >= index);
        }
    }
    let refused = cluster.handle(2).propose(b"no".to_vec()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(1) }));
    assert_eq!(cluster.handle(1).propose(Vec::new()).await, Err(ProposeError::Empty));
    let large = cluster.handle(1).propose(vec![0; 4 << 20]).await;
    assert!(matches!(large, Err(ProposeError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_when_the_leader_is_cut_off_and_when_it_stops() {
    let mut cluster = Cluster::start(3).await;
    cluster.propose("before").await;
    cluster.board.cut.write().unwrap().insert(1);
    let second = cluster.leader_but(&[1]).await;
    cluster.wait_for(1, |status| !status.leading).await;
    cluster.propose("while the first is cut off").await;
    cluster.board.cut.write().unwrap().clear();
    let index = cluster.propose("after it is back").await;
    cluster.wait_for(1, |status| status.applied >= index).await;
    cluster.stop(second).await;
    cluster.leader_but(&[second]).await;
    let index = cluster.propose("while the second is down").await;
    cluster.run(second);
    cluster.wait_for(second, |status| status.applied >= index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_state_survives_a_restart_of_everybody_and_latecomers_get_a_snapshot() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.handle(1);
    let writers = (0..16).map(|writer| {
        let (leader, checker) = (leader.clone(), cluster.checker.clone());
        tokio::spawn(async move {
            for round in 0..50 {
                let command = format!("writer {writer} round {round}").into_bytes();
                let applied = leader.propose(command.clone()).await.unwrap();
                checker.facts().acknowledge(applied.index, command);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let status = cluster.wait_for(1, |status| status.snapshot_index > 0 && status.first_index > 1).await;
    assert_eq!(status.voters, [1, 2]);
    for id in 1..=2 {
        cluster.stop(id).await;
    }
    for id in 1..=2 {
        cluster.run(id);
    }
    let index = cluster.propose("after the restart").await;
    assert!(index > 800, "the log goes on where it ended: {index}");
    let leads = cluster.leader_but(&[]).await;
    cluster.handle(leads).transfer_leader(1).await.unwrap();
    cluster.wait_for(1, |status| status.leading).await;
    // The log no longer begins at 1, so a newcomer needs the snapshot; the checker compares it.
    cluster.join(3).await;
    let index = cluster.propose("with three").await;
    cluster.wait_for(3, |status| status.applied >= index && status.voters == [1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_leaves_in_order() {
    let cluster = Cluster::start(3).await;
    let error = cluster.handle(1).remove(1).await.unwrap_err();
    let ChangeError::Propose(ProposeError::NotLeader { leader: Some(successor) }) = error else {
        panic!("{error}");
    };
    cluster.wait_for(successor, |status| status.leading).await;
    let members = cluster.handle(successor).remove(1).await.unwrap();
    assert_eq!(members.voters, [2, 3]);
    cluster.board.handles.write().unwrap().remove(&1);
    cluster.propose("without it").await;
}
