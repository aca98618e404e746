//! What takes long must not keep a replica from taking part: reading a snapshot, applying a long backlog.

use wharf_controller::raft::Role;

use crate::sim::Sim;

/// A cluster whose third replica has a snapshot from the leader on its disk, and has not read it yet.
fn restoring() -> Sim {
    let mut sim = Sim::with_voters(3);
    sim.isolate(3);
    write(&mut sim, 60);
    sim.heal();
    run_with_3_reading(&mut sim, |sim| sim.restores(3));
    sim
}

fn write(sim: &mut Sim, count: usize) {
    for _ in 0..count {
        sim.propose(1);
        sim.round();
    }
}

/// Everything goes on but what the third replica does beside its own thread.
fn run_with_3_reading(sim: &mut Sim, done: impl Fn(&Sim) -> bool) {
    for _ in 0..500 {
        if done(sim) {
            return;
        }
        for id in sim.alive() {
            sim.tick(id);
            sim.persist(id, usize::MAX);
        }
        for packet in std::mem::take(&mut sim.net) {
            sim.deliver(packet);
        }
        sim.finish_jobs(1);
        sim.finish_jobs(2);
    }
    panic!("it was never reached: {:?}", sim.status(3));
}

#[test]
fn a_replica_that_reads_a_snapshot_takes_entries_and_starts_no_election() {
    let mut sim = restoring();
    let before = sim.status(3).applied;
    // Without the second one, every commit needs the third.
    sim.isolate(2);
    let term = sim.status(1).term;
    for _ in 0..3 {
        sim.propose(1);
    }
    let last = sim.status(1).last_index;
    run_with_3_reading(&mut sim, |sim| sim.status(1).applied == last && sim.status(3).commit == last);
    assert_eq!((sim.status(3).applied, sim.status(1).term), (before, term));
    // Cut off from everybody, it still can't lead.
    sim.isolate(3);
    for _ in 0..100 {
        sim.tick(3);
    }
    assert_eq!((sim.status(3).role, sim.status(3).applied), (Role::Follower, before));
    sim.heal();
    sim.run_until("it has caught up", |sim| sim.status(3).applied == sim.status(1).applied);
    assert_eq!(sim.history(3), sim.history(1));
}

#[test]
fn a_snapshot_that_is_overtaken_while_it_is_read_is_forgotten() {
    let mut sim = restoring();
    let (first, received) = (sim.status(3).snapshot_index, sim.snapshots_received());
    sim.isolate(3);
    for _ in 0..60 {
        sim.propose(1);
        run_with_3_reading(&mut sim, |sim| sim.status(1).applied == sim.status(1).last_index);
    }
    sim.heal();
    run_with_3_reading(&mut sim, |sim| {
        sim.snapshots_received() > received
            && sim.status(3).snapshot_index > first
            && sim.nodes[&3].writes.is_empty()
    });
    assert!(sim.restores(3));
    // The first one is gone from the disk by now; that it can't be read harms nobody.
    sim.finish_jobs(3);
    assert!(sim.restores(3), "the second one's turn has come");
    sim.run_until("it has caught up", |sim| sim.status(3).applied == sim.status(1).applied);
    assert_eq!(sim.history(3), sim.history(1));
}

#[test]
fn a_long_backlog_is_applied_in_rounds() {
    let mut sim = Sim::new(1..2);
    sim.run_until("a leader", |sim| sim.leader() == Some(1));
    sim.settle();
    let large = |number| (vec![number; 300 << 10], Box::new(|_: Result<_, _>| ()) as Box<_>);
    sim.core(1).unwrap().propose((0..6).map(large).collect());
    let last = sim.status(1).last_index;
    sim.tick(1);
    sim.persist(1, usize::MAX);
    let mut rounds = 0;
    while sim.status(1).applied < last {
        assert!(sim.core(1).unwrap().has_backlog());
        sim.tick(1);
        rounds += 1;
    }
    assert!(rounds >= 2, "{rounds}");
    assert!(!sim.core(1).unwrap().has_backlog());
}
