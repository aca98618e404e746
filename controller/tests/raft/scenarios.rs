//! What a cluster must do in situations that are known to be hard.

use wharf_controller::raft::{ChangeError, MembershipRequest, Role, Space, StepError};

use crate::sim::{Sim, context};

fn assert_same_history(sim: &Sim, ids: &[u64]) {
    let first = sim.history(ids[0]);
    for id in ids {
        assert_eq!(sim.history(*id), first, "replica {id} differs from {}", ids[0]);
    }
}

fn propose_and_settle(sim: &mut Sim, at: u64, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|_| {
            let command = sim.propose(at);
            sim.round();
            command
        })
        .collect()
}

fn acknowledged(sim: &Sim, command: &[u8]) -> bool {
    sim.checker.facts().acknowledged.values().any(|known| known == command)
}

#[test]
fn a_bootstrapped_replica_leads_itself_and_the_others_join_it() {
    let mut sim = Sim::with_voters(3);
    let status = sim.status(1);
    assert_eq!((status.voters.as_slice(), status.learners.as_slice()), ([1, 2, 3].as_slice(), [].as_slice()));
    propose_and_settle(&mut sim, 1, 5);
    assert_eq!(sim.checker.facts().acknowledged.len(), 5);
    assert_same_history(&sim, &[1, 2, 3]);
    for id in 1..=3 {
        let machine = sim.core(id).unwrap().machine();
        assert_eq!(machine.contexts.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(machine.contexts[&2], context(2));
    }
}

#[test]
fn a_dead_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut sim = Sim::with_voters(3);
    let commands = propose_and_settle(&mut sim, 1, 3);
    sim.crash(1, 0);
    sim.run_until("a new leader", |sim| sim.leader().is_some_and(|leader| leader != 1));
    let leader = sim.leader().unwrap();
    propose_and_settle(&mut sim, leader, 3);
    sim.start(1);
    sim.run_until("the old leader catches up", |sim| sim.history(1).len() == 6);
    assert!(commands.iter().all(|command| acknowledged(&sim, command)));
    assert_same_history(&sim, &[1, 2, 3]);
}

#[test]
fn a_leader_cut_off_steps_down_and_its_unconfirmed_entries_give_way() {
    let mut sim = Sim::with_voters(3);
    sim.isolate(1);
    let orphan = sim.propose(1);
    sim.run_until("a new leader", |sim| sim.leader().is_some_and(|leader| leader != 1));
    sim.run_until("the old one steps down", |sim| sim.status(1).role != Role::Leader);
    let leader = sim.leader().unwrap();
    let kept = propose_and_settle(&mut sim, leader, 2);
    sim.heal();
    sim.run_until("the logs agree", |sim| sim.history(1).len() == 2);
    assert!(!acknowledged(&sim, &orphan));
    assert!(sim.checker.facts().refused.contains(&orphan), "its proposer learns that it was displaced");
    assert!(kept.iter().all(|command| acknowledged(&sim, command)));
    assert_same_history(&sim, &[1, 2, 3]);
}

#[test]
fn a_replica_that_was_cut_off_does_not_disturb_the_leader_when_it_returns() {
    let mut sim = Sim::with_voters(3);
    let term = sim.status(1).term;
    sim.isolate(3);
    for _ in 0..100 {
        sim.round();
    }
    sim.heal();
    for _ in 0..50 {
        sim.round();
    }
    assert_eq!((sim.leader(), sim.status(1).term), (Some(1), term));
}

#[test]
fn what_was_not_durable_is_lost_in_a_crash_and_was_not_acknowledged() {
    let mut sim = Sim::with_voters(3);
    // Nothing reaches any disk: the leader may send, but nobody may confirm.
    let command = sim.propose(1);
    for _ in 0..20 {
        for packet in std::mem::take(&mut sim.net) {
            sim.deliver(packet);
        }
    }
    assert!(!acknowledged(&sim, &command));
    for id in 1..=3 {
        sim.crash(id, 0);
    }
    for id in 1..=3 {
        sim.start(id);
    }
    sim.run_until("a leader", |sim| sim.leader().is_some());
    sim.round();
    assert!(sim.history(1).is_empty(), "it was nowhere durable");
    // One follower's disk and the leader's make a quorum.
    let leader = sim.leader().unwrap();
    let follower = if leader == 1 { 2 } else { 1 };
    let command = sim.propose(leader);
    for _ in 0..20 {
        for packet in std::mem::take(&mut sim.net) {
            sim.deliver(packet);
        }
        sim.persist(leader, usize::MAX);
        sim.persist(follower, usize::MAX);
    }
    assert!(acknowledged(&sim, &command));
}

#[test]
fn a_far_behind_replica_gets_a_snapshot_and_goes_on_from_the_log() {
    let mut sim = Sim::with_voters(3);
    sim.isolate(3);
    propose_and_settle(&mut sim, 1, 60);
    assert!(sim.status(1).first_index > sim.status(3).last_index + 1, "the log was compacted");
    assert!(sim.nodes[&1].store.len() < 40, "the disk is compacted, too");
    let before = sim.snapshots_received();
    sim.heal();
    sim.run_until("the replica catches up", |sim| sim.history(3).len() == 60);
    assert!(sim.snapshots_received() > before);
    propose_and_settle(&mut sim, 1, 3);
    assert_same_history(&sim, &[1, 2, 3]);
    assert!(sim.alive().iter().all(|id| sim.nodes[id].store.slots() <= 1), "old snapshots are dropped");
    sim.crash(3, 0);
    sim.start(3);
    sim.run_until("it restarts from the snapshot", |sim| sim.history(3).len() == 63);
    assert_eq!(sim.core(3).unwrap().machine().contexts.len(), 3);
}

#[test]
fn a_replica_that_joins_after_compaction_gets_a_snapshot_that_knows_it() {
    let mut sim = Sim::new(1..3);
    sim.run_until("a leader", |sim| sim.leader() == Some(1));
    propose_and_settle(&mut sim, 1, 40);
    assert!(sim.status(1).first_index > 1);
    sim.change_and_wait(&MembershipRequest::AddLearner { id: 2, context: context(2) });
    sim.run_until("the learner catches up", |sim| sim.history(2).len() == 40);
    assert_eq!(sim.status(2).learners, [2]);
    assert_eq!(sim.status(1).peers[&2].matched, sim.status(1).last_index, "the leader sees it caught up");
    sim.change_and_wait(&MembershipRequest::Promote { id: 2 });
    sim.run_until("both know it", |sim| sim.status(2).voters == [1, 2]);
    sim.crash(1, 0);
    sim.start(1);
    sim.run_until("a leader", |sim| sim.leader().is_some());
}

#[test]
fn a_lost_snapshot_is_sent_again() {
    let mut sim = Sim::with_voters(3);
    sim.isolate(3);
    propose_and_settle(&mut sim, 1, 60);
    sim.heal();
    let mut lost = 0;
    for _ in 0..400 {
        for id in sim.alive() {
            sim.tick(id);
            sim.persist(id, usize::MAX);
            sim.finish_jobs(id);
        }
        for packet in std::mem::take(&mut sim.net) {
            let snapshot = matches!(packet.payload, crate::sim::Payload::Snapshot(..));
            if snapshot && lost < 3 {
                lost += 1;
                sim.lost(&packet);
            } else {
                sim.deliver(packet);
            }
        }
    }
    assert_eq!((lost, sim.history(3).len()), (3, 60));
}

#[test]
fn a_learner_does_not_vote_and_does_not_count() {
    let mut sim = Sim::new(1..4);
    sim.run_until("a leader", |sim| sim.leader() == Some(1));
    sim.change_and_wait(&MembershipRequest::AddLearner { id: 2, context: context(2) });
    sim.change_and_wait(&MembershipRequest::Promote { id: 2 });
    sim.change_and_wait(&MembershipRequest::AddLearner { id: 3, context: context(3) });
    sim.crash(2, 0);
    let command = sim.propose(1);
    for _ in 0..5 {
        sim.round();
    }
    assert!(!acknowledged(&sim, &command), "a learner's disk doesn't make a quorum");
    for _ in 0..60 {
        sim.round();
    }
    assert_eq!(sim.leader(), None, "a learner's heartbeat doesn't make a quorum either");
    assert!(sim.status(3).role == Role::Follower);
}

#[test]
fn members_are_changed_only_in_ways_that_make_sense() {
    let mut sim = Sim::with_voters(3);
    let refused = [
        MembershipRequest::Promote { id: 2 },
        MembershipRequest::Promote { id: 9 },
        MembershipRequest::Demote { id: 9 },
        MembershipRequest::Remove { id: 9 },
        MembershipRequest::AddLearner { id: 2, context: vec![] },
        MembershipRequest::AddLearner { id: 0, context: vec![] },
    ];
    for request in refused {
        let answer = sim.change(1, request.clone());
        let answer = answer.lock().unwrap().take();
        assert!(matches!(answer, Some(Err(ChangeError::Refused(_)))), "{request:?}: {answer:?}");
    }
    let answer = sim.change(2, MembershipRequest::Remove { id: 3 });
    let answer = answer.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(ChangeError::Propose(_)))), "only the leader can: {answer:?}");
    // A second change while the first is under way.
    let first = sim.change(1, MembershipRequest::Demote { id: 3 });
    let second = sim.change(1, MembershipRequest::Demote { id: 2 });
    assert_eq!(second.lock().unwrap().take(), Some(Err(ChangeError::InProgress)));
    sim.round();
    sim.round();
    assert_eq!(first.lock().unwrap().take(), Some(Ok(())));
    assert_eq!((sim.status(2).voters, sim.status(2).learners), (vec![1, 2], vec![3]));
    let only = {
        sim.change_and_wait(&MembershipRequest::Remove { id: 3 });
        sim.change_and_wait(&MembershipRequest::Remove { id: 2 });
        sim.change(1, MembershipRequest::Remove { id: 1 })
    };
    let only = only.lock().unwrap().take();
    assert!(matches!(only, Some(Err(ChangeError::Refused(_)))), "{only:?}");
}

#[test]
fn a_leader_told_to_leave_hands_over_first() {
    let mut sim = Sim::with_voters(3);
    let answer = sim.change(1, MembershipRequest::Remove { id: 1 });
    sim.run_until("another leads", |sim| sim.leader().is_some_and(|leader| leader != 1));
    sim.round();
    let answer = answer.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(ChangeError::Propose(_)))), "{answer:?}");
    sim.change_and_wait(&MembershipRequest::Remove { id: 1 });
    let leader = sim.leader().unwrap();
    assert_eq!(sim.status(leader).voters, [2, 3]);
    propose_and_settle(&mut sim, leader, 2);
    assert_same_history(&sim, &[2, 3]);
}

#[test]
fn a_leader_whose_removal_an_earlier_leader_proposed_steps_down_when_it_commits() {
    let mut sim = Sim::with_voters(3);
    // 1 proposes to remove 2; the entry reaches 2 and its disk, but 1 never hears of it.
    let _ = sim.change(1, MembershipRequest::Remove { id: 2 });
    sim.cut(2, 1);
    sim.cut(3, 1);
    sim.cut(1, 3);
    sim.settle();
    sim.crash(1, usize::MAX);
    sim.run_until("2 leads and is gone", |sim| {
        let status = sim.status(2);
        status.role != Role::Leader && status.removed()
    });
    sim.heal();
    sim.start(1);
    sim.run_until("the rest goes on", |sim| sim.leader().is_some_and(|leader| leader != 2));
    let leader = sim.leader().unwrap();
    assert_eq!(sim.status(leader).voters, [1, 3]);
}

#[test]
fn a_restart_never_forgets_who_may_vote() {
    // A sole voter grows to three and then everybody loses all writes that only carried a commit
    // index. Had it applied the changes without having made them durable, it would now elect itself
    // alone while the others elect another.
    let mut sim = Sim::new(1..4);
    sim.run_until("a leader", |sim| sim.leader() == Some(1));
    for id in 2..=3 {
        sim.change_and_wait(&MembershipRequest::AddLearner { id, context: context(id) });
        sim.change_and_wait(&MembershipRequest::Promote { id });
    }
    sim.crash(1, 0);
    sim.start(1);
    assert_eq!(sim.status(1).voters, [1, 2, 3]);
}

#[test]
fn a_read_sees_everything_acknowledged_before_it_on_every_replica() {
    let mut sim = Sim::with_voters(3);
    for _ in 0..3 {
        propose_and_settle(&mut sim, 1, 2);
        for id in 1..=3 {
            sim.read(id);
        }
        sim.round();
    }
    sim.round();
    assert_eq!(sim.checker.facts().reads, 9);
}

#[test]
fn a_deposed_leader_serves_no_read() {
    let mut sim = Sim::with_voters(3);
    sim.isolate(1);
    sim.read(1);
    sim.run_until("a new leader", |sim| sim.leader().is_some_and(|leader| leader != 1));
    let leader = sim.leader().unwrap();
    propose_and_settle(&mut sim, leader, 2);
    sim.read(1);
    for _ in 0..30 {
        sim.round();
    }
    assert_eq!(sim.checker.facts().reads, 0);
    // The reader is patient enough for the network to come back: the checker sees what it gets.
    sim.read(1);
    sim.heal();
    sim.run_until("the read is served", |sim| sim.checker.facts().reads >= 1);
}

#[test]
fn an_answer_to_a_read_before_a_restart_confirms_none_after_it() {
    let mut sim = Sim::with_voters(3);
    sim.read(2);
    sim.settle_but_hold_answers_to(2);
    let late = std::mem::take(&mut sim.net);
    sim.crash(2, 0);
    sim.start(2);
    sim.round();
    sim.round();
    // It lags behind what is acknowledged next, and its question gets lost.
    sim.isolate(2);
    propose_and_settle(&mut sim, 1, 1);
    sim.read(2);
    sim.net.clear();
    sim.heal();
    for packet in late {
        sim.deliver(packet);
    }
    // The checker fails if the old answer is taken for the new read's.
    sim.run_until("the read is served", |sim| sim.checker.facts().reads == 1);
}

#[test]
fn leadership_moves_when_asked() {
    let mut sim = Sim::with_voters(3);
    let answer = std::sync::Arc::new(std::sync::Mutex::new(None));
    let place = answer.clone();
    sim.core(1).unwrap().transfer_leader(3, Box::new(move |result| *place.lock().unwrap() = Some(result)));
    sim.run_until("3 leads", |sim| sim.leader() == Some(3));
    sim.round();
    assert_eq!(*answer.lock().unwrap(), Some(Ok(())));
    propose_and_settle(&mut sim, 3, 2);
    assert_same_history(&sim, &[1, 2, 3]);
}

#[test]
fn a_replica_whose_disk_was_lost_refuses_to_pretend() {
    let mut sim = Sim::with_voters(3);
    propose_and_settle(&mut sim, 1, 3);
    let commit = sim.status(1).commit;
    // What a leader that still counts on the old disk would send.
    let heartbeat = wharf_controller::raft::Message {
        msg_type: wharf_controller::raft::MessageType::MsgHeartbeat as i32,
        from: 1,
        to: 9,
        term: sim.status(1).term,
        commit,
        ..Default::default()
    };
    let mut fresh = Sim::new(9..10);
    let refused = fresh.core(9).unwrap().step(heartbeat);
    assert_eq!(refused, Err(StepError::LogLost { expected: commit, last: 0 }));
}

#[test]
fn a_sole_voter_says_nothing_in_a_term_that_is_not_durable() {
    let mut sim = Sim::new(1..3);
    sim.run_until("a leader", |sim| sim.leader() == Some(1));
    sim.change_and_wait(&MembershipRequest::AddLearner { id: 2, context: context(2) });
    sim.crash(1, 0);
    sim.start(1);
    while sim.status(1).role != Role::Leader {
        sim.tick(1);
    }
    sim.propose(1);
    // Were it to crash now, it would lead the same term again with other entries at these indexes.
    assert!(sim.net.is_empty(), "its term is only in memory");
    sim.persist(1, usize::MAX);
    assert!(!sim.net.is_empty());
    sim.settle();
    assert_same_history(&sim, &[1, 2]);
}

#[test]
fn a_replica_that_is_installing_a_snapshot_waits_with_elections() {
    let mut sim = Sim::with_voters(3);
    sim.isolate(3);
    propose_and_settle(&mut sim, 1, 60);
    sim.heal();
    let before = sim.snapshots_received();
    while sim.snapshots_received() == before {
        for id in 1..=2 {
            sim.tick(id);
            sim.persist(id, usize::MAX);
            sim.finish_jobs(id);
        }
        for packet in std::mem::take(&mut sim.net) {
            sim.deliver(packet);
        }
    }
    for _ in 0..100 {
        sim.tick(3);
    }
    assert_eq!(sim.status(3).role, Role::Follower);
    sim.run_until("it takes part again", |sim| sim.history(3).len() == 60);
}

/// Entries are committed and wait behind a membership change for the disk when a snapshot that covers
/// them comes: they must not be applied on top of it.
#[test]
fn what_waits_to_be_applied_is_forgotten_when_a_snapshot_covers_it() {
    let mut sim = Sim::with_voters(3);
    drop(sim.change(1, MembershipRequest::AddLearner { id: 4, context: context(4) }));
    sim.propose(1);
    sim.propose(1);
    let change = sim.status(1).last_index - 2;
    let waits = |sim: &Sim| {
        let status = sim.status(3);
        let front = sim.nodes[&3].writes.front();
        status.commit >= change + 2
            && status.applied < change
            && front.is_some_and(|write| {
                write.batch.entries.is_empty() && write.batch.hard_state.commit >= change
            })
    };
    for _ in 0..20 {
        sim.tick(1);
        for packet in std::mem::take(&mut sim.net) {
            sim.deliver(packet);
        }
        sim.persist(1, usize::MAX);
        sim.persist(2, usize::MAX);
        if waits(&sim) {
            break;
        }
        sim.persist(3, 1);
    }
    assert!(waits(&sim), "the change is committed and not applied: {:?}", sim.status(3));
    // The others go on without it until a snapshot covers all that.
    for other in [1, 2] {
        sim.cut(other, 3);
        sim.cut(3, other);
    }
    while sim.status(1).snapshot_index <= change + 2 {
        sim.propose(1);
        sim.tick(1);
        for _ in 0..5 {
            for packet in std::mem::take(&mut sim.net) {
                sim.deliver(packet);
            }
            sim.persist(1, usize::MAX);
            sim.persist(2, usize::MAX);
            sim.finish_jobs(1);
        }
    }
    assert!(waits(&sim));
    sim.heal();
    sim.net.clear();
    let before = sim.snapshots_received();
    sim.offer_snapshot(1, 3);
    let snapshot = sim.net.pop_back().unwrap();
    sim.deliver(snapshot);
    let install = sim.nodes[&3].writes.iter().find(|write| write.batch.reset);
    assert!(install.is_some(), "it takes the snapshot over while the change still waits");
    sim.run_until("it has caught up", |sim| sim.status(3).applied == sim.status(1).applied);
    assert!(sim.snapshots_received() > before);
    assert_same_history(&sim, &[1, 2, 3]);
    assert_eq!(sim.status(3).learners, [4]);
}

#[test]
fn a_leader_short_of_space_hands_over_and_refuses_where_nobody_has_more() {
    let mut sim = Sim::with_voters(3);
    let full = Some(Space { free: 1 << 20, total: 1 << 30 });
    sim.core(1).unwrap().set_space(full);
    sim.run_until("another leads", |sim| sim.leader().is_some_and(|leader| leader != 1));
    let second = sim.leader().unwrap();
    let command = sim.propose(second);
    sim.round();
    assert!(acknowledged(&sim, &command), "it has space");
    // A follower takes what the leader sends, however little space it has.
    assert_same_history(&sim, &[1, 2, 3]);

    for id in 1..=3 {
        sim.core(id).unwrap().set_space(full);
    }
    sim.run_until("the third leads", |sim| sim.leader().is_some_and(|leader| leader != second));
    let mut leaders = Vec::new();
    for _ in 0..200 {
        for id in 1..=3 {
            sim.core(id).unwrap().set_space(full);
        }
        sim.round();
        leaders.extend(sim.leader().filter(|leader| leaders.last() != Some(leader)));
    }
    assert!(leaders.len() <= 3, "leadership is not passed round and round: {leaders:?}");
    let leader = sim.leader().unwrap();
    let refused = sim.propose(leader);
    assert!(sim.checker.facts().refused.contains(&refused), "nobody has space");
    let change = MembershipRequest::Demote { id: if leader == 1 { 2 } else { 1 } };
    sim.change_and_wait(&change);

    let plenty = Some(Space { free: 1 << 29, total: 1 << 30 });
    let leader = sim.leader().unwrap();
    sim.core(leader).unwrap().set_space(plenty);
    let command = sim.propose(leader);
    sim.round();
    assert!(acknowledged(&sim, &command), "there is space again");
}
